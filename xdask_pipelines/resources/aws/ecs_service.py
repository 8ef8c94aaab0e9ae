"""One ECS service and its tasks.

Belongs here: reading and changing a service. Does not belong here: what its tasks mean for a pool (ecs_backend), tasks
without a service (sync_executor).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xdask_pipelines.errors import AwsError
from xdask_pipelines.resources.aws.clients import call, client, pages
from xdask_pipelines.topology.aws_names import PREFIX, WORKER_CONTAINER, capacity_provider, cluster_name, pool_service

#: Most tasks that one call accepts.
_DESCRIBED, _PROTECTED = 100, 10
#: How long a task is protected. A pool that shrinks protects again at each step; upgrades wait for the rest of it.
PROTECT_MINUTES = 30
_FAILURE = re.compile(r"unable to|failed to|CannotPull|ResourceInitializationError|OutOfMemory", re.IGNORECASE)


@dataclass(frozen=True)
class EcsTask:
    """One task, as ECS describes it.

    Attributes
    ----------
    arn
        Its ARN, whose last part is the id.
    status
        ``PROVISIONING``, ``PENDING``, ``ACTIVATING``, ``RUNNING``, …, ``STOPPED``.
    ends
        Whether it ends, or has ended.
    created
        Time at which it was asked for, as `time.time` gives it.
    address
        Private address of its network interface; empty before it has one.
    reason
        Why it stopped; empty while it runs.
    """

    arn: str
    status: str
    ends: bool
    created: float
    address: str
    reason: str

    @property
    def task_id(self) -> str:
        """Last part of the ARN."""
        return self.arn.rpartition("/")[2]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> EcsTask:
        """Read the description of a task."""
        details = [
            (detail["name"], detail.get("value", ""))
            for attachment in document.get("attachments", ())
            if attachment["type"] == "ElasticNetworkInterface"
            for detail in attachment.get("details", ())
        ]
        reasons = [document.get("stoppedReason", ""), *(c.get("reason", "") for c in document.get("containers", ()))]
        created = document.get("createdAt")
        return cls(
            document["taskArn"],
            document.get("lastStatus", ""),
            document.get("desiredStatus") == "STOPPED",
            created.timestamp() if created else 0.0,
            dict(details).get("privateIPv4Address", ""),
            "; ".join(dict.fromkeys(text for text in reasons if text)),
        )


@dataclass(frozen=True)
class ServiceEvent:
    """A message of ECS about a service, and its time."""

    at: float
    message: str

    @property
    def failure(self) -> bool:
        """Return whether it says that a task could not be placed or started."""
        return bool(_FAILURE.search(self.message))


@dataclass(frozen=True)
class ServiceState:
    """How many tasks a service should have; its network configuration; its newest messages, newest first."""

    desired: int
    network: Mapping[str, Any]
    events: Sequence[ServiceEvent] = ()


class EcsService:
    """A service of a cluster of this project.

    Parameters
    ----------
    region
        Region of the cluster.
    name
        Name of the service; that of the Region's pool by default.
    """

    def __init__(self, region: str, name: str = "") -> None:
        self.region, self.name, self.cluster = region, name or pool_service(region), cluster_name(region)
        self._ecs = client("ecs", region)

    def state(self) -> ServiceState:
        """Describe the service.

        Raises
        ------
        AwsError
            It does not exist; or as in `clients.call`.
        """
        answer = call(self._ecs, "describe_services", cluster=self.cluster, services=[self.name])
        found = [each for each in answer.get("services", ()) if each.get("status") == "ACTIVE"]
        if not found:
            raise AwsError(
                f"There is no ECS service {self.name} in the cluster {self.cluster} of {self.region}. Deploy the stacks "
                f"whose names begin with {PREFIX}- (`make infra-deploy`), or correct regions.yaml.",
                code="ServiceNotFound",
                operation="ecs:DescribeServices",
                region=self.region,
            )
        events = [ServiceEvent(e["createdAt"].timestamp(), e["message"]) for e in found[0].get("events", ())]
        return ServiceState(found[0]["desiredCount"], found[0].get("networkConfiguration", {}), events)

    def tasks(self, *, stopped: bool = False) -> list[EcsTask]:
        """Return the tasks that should run; with ``stopped`` those that ended within the last hour."""
        status = "STOPPED" if stopped else "RUNNING"
        arns = pages(
            self._ecs, "list_tasks", "taskArns", cluster=self.cluster, serviceName=self.name, desiredStatus=status
        )
        return self.describe(arns, ends=stopped)

    def describe(self, arns: Iterable[str], *, ends: bool | None = None) -> list[EcsTask]:
        """Return tasks by ARN or id; with ``ends`` only those that end, or only those that do not."""
        found: list[EcsTask] = []
        for batch in _batches(arns, _DESCRIBED):
            answer = call(self._ecs, "describe_tasks", cluster=self.cluster, tasks=batch)
            found += map(EcsTask.of, answer.get("tasks", ()))
        return [task for task in found if ends is None or task.ends == ends]

    def set_desired(self, count: int) -> None:
        """Set how many tasks the service should have."""
        call(self._ecs, "update_service", cluster=self.cluster, service=self.name, desiredCount=count)

    def protect(self, tasks: Iterable[str], *, on: bool = True) -> dict[str, str]:
        """Keep tasks from being chosen when the count falls, for `PROTECT_MINUTES`; or allow it again.

        Returns
        -------
        By task, why ECS did not do it.
        """
        refused: dict[str, str] = {}
        for batch in _batches(tasks, _PROTECTED):
            limit = {"expiresInMinutes": PROTECT_MINUTES} if on else {}
            answer = call(
                self._ecs,
                "update_task_protection",
                cluster=self.cluster,
                tasks=batch,
                protectionEnabled=on,
                **limit,
            )
            failures = answer.get("failures", ())
            refused |= {each.get("arn", "").rpartition("/")[2]: each.get("reason", "") for each in failures}
        return refused

    def run(self, family: str, environment: Mapping[str, str], started_by: str) -> str:
        """Run one task of another family in the service's network, on the cluster's capacity; its ARN.

        Raises
        ------
        AwsError
            ECS does not accept the task; or as in `clients.call`.
        """
        variables = [{"name": name, "value": value} for name, value in environment.items()]
        answer = call(
            self._ecs,
            "run_task",
            cluster=self.cluster,
            taskDefinition=family,
            count=1,
            startedBy=started_by,
            capacityProviderStrategy=[{"capacityProvider": capacity_provider(self.region), "weight": 1}],
            networkConfiguration=self.state().network,
            overrides={"containerOverrides": [{"name": WORKER_CONTAINER, "environment": variables}]},
            propagateTags="TASK_DEFINITION",
            enableECSManagedTags=True,
        )
        if not answer.get("tasks"):
            reasons = "; ".join(sorted({each.get("reason", "") for each in answer.get("failures", ())})) or "nothing"
            raise AwsError(
                f"ECS does not run a task of {family} in {self.region}. It reports: {reasons}. Check the capacity of the "
                f"cluster {self.cluster}, then try again.",
                code=reasons,
                operation="ecs:RunTask",
                region=self.region,
            )
        return str(answer["tasks"][0]["taskArn"])

    def stop(self, task: str, reason: str) -> None:
        """Stop one task; nothing happens if it has ended."""
        call(self._ecs, "stop_task", cluster=self.cluster, task=task, reason=reason[:1024])


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    listed = list(items)
    return (listed[start : start + size] for start in range(0, len(listed), size))
