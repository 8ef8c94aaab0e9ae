"""Running a command inside a deployment: in the container of Dagster's code, by ECS Exec.

Belongs here: whether this process is inside, and the command that gets there. Does not belong here: what runs there.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence

from xdask_pipelines.operations.aws.port_forwarding import refuse_missing_tools, target
from xdask_pipelines.resources.aws.own_task import METADATA_VARIABLE
from xdask_pipelines.topology import Topology, aws_names

_CONTAINER = "code"


def runs_inside() -> bool:
    """Return whether this process runs in an ECS task."""
    return METADATA_VARIABLE in os.environ


def run_inside(topology: Topology, words: Sequence[str]) -> int:
    """Run a command in the deployment, with its output on this terminal; return its exit code.

    Raises
    ------
    XdaskError
        A tool is missing, or no task of Dagster runs.
    """
    assert topology.aws is not None
    refuse_missing_tools()
    service = aws_names.DAGSTER_SERVICE if topology.aws.stage == "full" else aws_names.SCHEDULER_SERVICE
    cluster = aws_names.cluster_name(topology.client.region)
    task = target(topology, service, _CONTAINER).split("_")[1]
    command = [
        *("aws", "ecs", "execute-command", "--region", topology.client.region, "--cluster", cluster, "--task", task),
        *("--container", _CONTAINER, "--interactive", "--command", shlex.join(words)),
    ]
    return subprocess.run(command, check=False).returncode
