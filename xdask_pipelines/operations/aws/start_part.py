"""Starting what a container on AWS runs: secrets and settings are written to memory, then the container's own command.

Belongs here: the command of each part. Does not belong here: secrets (secrets_in_memory), settings (dagster_settings),
task definitions (infra).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from xdask_pipelines.catalog.opensearch.domain_roles import admit
from xdask_pipelines.errors import CatalogError, TopologyError, XdaskError
from xdask_pipelines.operations import start_scheduler
from xdask_pipelines.placement.launch.process_command import ProcessCommand
from xdask_pipelines.resources.aws.dagster_settings import write_settings
from xdask_pipelines.resources.aws.own_task import own_task
from xdask_pipelines.resources.aws.secrets_in_memory import write_certificates
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_facts import region_partitions
from xdask_pipelines.topology.aws_names import (
    CERTIFICATES_PATH,
    CODE_PORT,
    DAGSTER_PATH,
    NOTEBOOK_PORT,
    UI_PORT,
    role_name,
)

_MODULE = "xdask_pipelines.definitions"
_GUARDED = "xdask_pipelines.operations.webserver"
#: Hosts of a browser's requests in addition to ``ui_hosts`` of regions.yaml.
HOSTS_VARIABLE = "XDASK_UI_HOSTS"


#: Where a process finds the credentials of its task. At the stage small the task of the scheduler is Dagster's too, and
#: clients of the scheduler run code in it.
_CREDENTIALS = (
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)


def scheduler(topology: Topology) -> ProcessCommand:
    """Return the command of the scheduler's container, which reads the TLS keys and then has no credentials any more."""
    certificates = _certificates()
    write_certificates(topology.client.region, certificates)
    # A task has a network of its own, in which nobody else takes these ports.
    command = start_scheduler.command_of(topology, certificates=certificates, starts=False)
    return replace(command, withheld=_CREDENTIALS)


def code(topology: Topology) -> ProcessCommand:
    """Return the command of the code server, for daemon and webservers of the same task.

    At the stage full the catalog has fine-grained access control, which Dagster's role administers: notebooks are admitted
    here, because nothing else reaches the domain with that role.
    """
    if topology.aws and topology.aws.stage == "full":
        _admit_notebooks(topology)
    words = [sys.executable, "-m", "dagster", "code-server", "start", "--host", LOOPBACK, "--port", str(CODE_PORT)]
    return ProcessCommand([*words, "--module-name", _MODULE], _prepared(topology))


def daemon(topology: Topology) -> ProcessCommand:
    """Return the command of Dagster's daemon: schedules, sensors, and the queue of runs."""
    environment = _prepared(topology)
    words = [sys.executable, "-m", "dagster._daemon", "run", "--workspace", f"{_home()}/workspace.yaml"]
    return ProcessCommand(words, environment)


def webserver(topology: Topology) -> ProcessCommand:
    """Return the command of the webserver for port forwarding: it may write, and listens on loopback."""
    return _webserver(topology, LOOPBACK, {})


def reader(topology: Topology) -> ProcessCommand:
    """Return the command of the webserver behind the load balancer: it only reads, and listens for it.

    Raises
    ------
    XdaskError
        The topology has no load balancer, or this is no ECS task.
    """
    task, access = own_task(), topology.aws.access if topology.aws else None
    if task is None or access is None:
        raise XdaskError(
            "The reader is the webserver behind the load balancer of the stage full, in a task on ECS. Use `xdask ui` on "
            "this machine."
        )
    hosts = f"{access.host},{task.address}:{UI_PORT}"  # the load balancer checks its health by address
    return _webserver(topology, task.address, {HOSTS_VARIABLE: hosts}, "--read-only")


def notebook(topology: Topology) -> ProcessCommand:
    """Return the command of a notebook: JupyterLab on loopback, in the home of its user.

    Port forwarding by SSM is the log-in, so that JupyterLab asks for no token.
    """
    write_certificates(topology.client.region, _certificates())
    home = Path(os.environ.get("HOME") or "/tmp") / (os.environ.get("XDASK_USER") or "shared")
    home.mkdir(parents=True, exist_ok=True)
    options = {
        "ip": LOOPBACK,
        "port": str(NOTEBOOK_PORT),
        "open_browser": "False",
        "root_dir": str(home),
    }
    words = [sys.executable, "-m", "jupyterlab", *(f"--ServerApp.{name}={value}" for name, value in options.items())]
    return ProcessCommand([*words, "--IdentityProvider.token="], {"HOME": str(home)})


PARTS: Mapping[str, Callable[[Topology], ProcessCommand]] = {
    each.__name__: each for each in (scheduler, code, daemon, webserver, reader, notebook)
}


def prepared_command(topology: Topology, words: Sequence[str]) -> ProcessCommand:
    """Return any command with the secrets and settings of Dagster's containers, such as that of a run.

    Raises
    ------
    XdaskError
        There is no such program.
    """
    program = shutil.which(words[0])
    if program is None:
        raise XdaskError(f"There is no program {words[0]} in this container. Name one that is in its PATH.")
    return ProcessCommand([program, *words[1:]], _prepared(topology))


def _admit_notebooks(topology: Topology) -> None:
    assert topology.aws is not None
    region = topology.client.region
    role = f"role/{role_name('notebook', region)}"
    try:
        admit(topology.catalog_url, [f"arn:{region_partitions()[region]}:iam::{topology.aws.account}:{role}"])
    except CatalogError as error:  # Dagster itself does not need it
        print(f"warning: notebooks cannot use the catalog. {error}", file=sys.stderr)


def _webserver(topology: Topology, host: str, more: Mapping[str, str], *options: str) -> ProcessCommand:
    environment = {**_prepared(topology), **more}
    words = [sys.executable, "-m", _GUARDED, "--workspace", f"{_home()}/workspace.yaml"]
    return ProcessCommand([*words, "--host", host, "--port", str(UI_PORT), *options], environment)


def _prepared(topology: Topology) -> dict[str, str]:
    """Write keys and settings of Dagster's containers, and return their environment."""
    if topology.aws is None or topology.profile != "aws":
        raise TopologyError(
            f"{topology.root / 'regions.yaml'} has not the profile aws. Name another file (XDASK_TOPOLOGY), or use "
            "`xdask ui` on this machine."
        )
    write_certificates(topology.client.region, _certificates())
    write_settings(topology, _home())
    return {"DAGSTER_HOME": str(_home())}


def _home() -> Path:
    return Path(os.environ.get("DAGSTER_HOME") or DAGSTER_PATH)


def _certificates() -> Path:
    return Path(os.environ.get("XDASK_CERTS") or CERTIFICATES_PATH)
