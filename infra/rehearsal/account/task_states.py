"""What ECS would say of tasks, which the emulator has running the moment they are asked for.

Belongs here: states, addresses and protection of tasks; how many tasks a service wants. Does not belong here: requests
(ecs_answers), processes (agent).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import RLock
from time import monotonic
from typing import Any

#: How long a task is protected if its request does not say.
_PROTECTION_MINUTES = 120
Document = dict[str, Any]


@dataclass
class TaskState:
    """One task as its processes are.

    Attributes
    ----------
    status
        ``PROVISIONING`` until it has an instance and a network interface, ``PENDING`` until its processes run,
        ``RUNNING``, ``DEACTIVATING`` while they end, ``STOPPED``.
    address
        Of its network interface; empty before it has one.
    protected_until
        Time of the clock; 0 without protection.
    exit_codes
        By container.
    stop_code
        Why the task stopped, if the emulator does not know.
    """

    arn: str
    status: str = "PROVISIONING"
    address: str = ""
    protected_until: float = 0.0
    exit_codes: dict[str, int] = field(default_factory=dict)
    stop_code: str = ""

    @property
    def region(self) -> str:
        """Region of the task."""
        return self.arn.split(":")[3]

    @property
    def cluster(self) -> str:
        """Cluster of the task."""
        return self.arn.split("/")[1]

    @property
    def task_id(self) -> str:
        """Last part of the ARN."""
        return self.arn.rpartition("/")[2]

    @property
    def interface(self) -> str:
        """Id of its network interface."""
        return "eni-" + hashlib.sha256(self.arn.encode()).hexdigest()[:17]


@dataclass
class TaskStates:
    """All tasks by ARN, and what was asked of services: shared by the proxy and the agent."""

    clock: Callable[[], float] = monotonic
    tasks: dict[str, TaskState] = field(default_factory=dict)
    #: Desired counts that the emulator was not told of, because protected tasks are more; by Region, cluster and service.
    desired: dict[tuple[str, str, str], int] = field(default_factory=dict)
    #: Messages of services, such as that a task cannot be placed; by Region and service.
    messages: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock)
    #: Held while the tasks of a service are read and its desired count is set: of two requests at once, one would be lost.
    scaling: RLock = field(default_factory=RLock)

    def of(self, arn: str) -> TaskState:
        """Return the state of a task, which begins as ``PROVISIONING``."""
        with self.lock:
            return self.tasks.setdefault(arn, TaskState(arn))

    def at_interface(self, interface: str) -> TaskState | None:
        """Return the task that has a network interface."""
        with self.lock:
            return next((task for task in self.tasks.values() if task.interface == interface), None)

    def is_protected(self, arn: str) -> bool:
        """Return whether a service would not choose a task to scale in."""
        return self.of(arn).protected_until > self.clock()

    def protect(self, arn: str, enabled: bool, minutes: int | None) -> Document:
        """Protect a task, or end its protection; what ECS answers of it."""
        state = self.of(arn)
        seconds = 60.0 * (minutes or _PROTECTION_MINUTES)
        state.protected_until = self.clock() + seconds if enabled else 0.0
        return self.protection(arn)

    def protection(self, arn: str) -> Document:
        """Return what ECS answers of a task's protection."""
        left = self.of(arn).protected_until - self.clock()
        return {"taskArn": arn, "protectionEnabled": left > 0, **({"expirationDate": _wall(left)} if left > 0 else {})}

    def count(self, arns: Collection[str], *statuses: str) -> int:
        """Return how many of some tasks have one of some statuses."""
        return sum(self.of(arn).status in statuses for arn in arns)

    def describe(self, task: Document) -> None:
        """Change the emulator's description of a task to what ECS would say of it."""
        state = self.of(task["taskArn"])
        if task.get("desiredStatus") == "RUNNING":
            task["lastStatus"] = state.status
        elif state.status != "STOPPED":  # the emulator does not wait for processes
            task["lastStatus"] = "DEACTIVATING"
        if state.stop_code and task.get("desiredStatus") == "STOPPED":
            task["stopCode"] = state.stop_code
        if state.status in ("PROVISIONING", "PENDING"):
            task.pop("startedAt", None)
        for container in task.get("containers", ()):
            if task["lastStatus"] in ("PROVISIONING", "PENDING"):
                container["lastStatus"] = "PENDING"
            if container["name"] in state.exit_codes:
                container["exitCode"] = state.exit_codes[container["name"]]
            else:
                container.pop("exitCode", None)
            if state.address:
                container["networkInterfaces"] = [
                    {"attachmentId": state.task_id, "privateIpv4Address": state.address}
                ]  # fmt: skip
        attached = [
            {"name": "networkInterfaceId", "value": state.interface},
            {"name": "privateIPv4Address", "value": state.address},
        ]
        task["attachments"] = [
            {
                "id": state.task_id,
                "type": "ElasticNetworkInterface",
                "status": "ATTACHED" if state.address else "PRECREATED",
                "details": attached if state.address else [],
            }
        ]


def _wall(left: float) -> float:
    from time import time

    return time() + left
