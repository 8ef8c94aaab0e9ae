"""The ECS task in which this process runs, as its metadata endpoint describes it.

Belongs here: id and address of the task. Does not belong here: tasks of others (ecs_service).
"""

from __future__ import annotations

import json
import os
import urllib.request
from dataclasses import dataclass

from xdask_pipelines.errors import PlacementError

#: Set by the agent of ECS in every container.
METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
_SECONDS = 5.0


@dataclass(frozen=True)
class OwnTask:
    """The task of this process.

    Attributes
    ----------
    arn
        ARN of the task.
    address
        Private address of its network interface.
    """

    arn: str
    address: str

    @property
    def task_id(self) -> str:
        """Last part of the ARN."""
        return self.arn.rpartition("/")[2]


def own_task() -> OwnTask | None:
    """Return the task of this process; None outside of ECS.

    Raises
    ------
    PlacementError
        The metadata endpoint does not answer, or names no address.
    """
    endpoint = os.environ.get(METADATA_VARIABLE)
    if not endpoint:
        return None
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach it
        with opener.open(f"{endpoint}/task", timeout=_SECONDS) as found:
            task = json.load(found)
        addresses = [
            address
            for container in task["Containers"]
            for network in container.get("Networks", ())
            for address in network.get("IPv4Addresses", ())
        ]
        return OwnTask(task["TaskARN"], addresses[0])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise PlacementError(
            f"The metadata of this ECS task at {endpoint}/task cannot be used ({error!r}). Check that the task has network "
            "mode awsvpc, or give the values: `xdask worker --name NAME`, `xdask scheduler --host ADDRESS`."
        ) from error
