"""Figures of pools and scheduler for CloudWatch; its alarms and dashboard (infra) name them.

Belongs here: names, units, and publishing. Does not belong here: when (ecs_controller), thresholds (infra).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xdask_pipelines.resources.aws.clients import call
from xdask_pipelines.topology.aws_names import METRICS_NAMESPACE

#: Most figures that one call accepts.
_EACH = 1000


@dataclass(frozen=True)
class PoolFigures:
    """One pool at one moment.

    Attributes
    ----------
    instances, desired
        Instances that run, and that should.
    backlog
        The scheduler's figures of the pool (`backlog.count`).
    received_bytes
        Bytes that came from other Regions since the last figures.
    hours_since_sync
        Age of the oldest of the last syncs of its datasets; None before the first.
    """

    instances: int
    desired: int
    backlog: Mapping[str, Any] = field(default_factory=dict)
    received_bytes: int = 0
    hours_since_sync: float | None = None

    def metrics(self, region: str) -> list[dict[str, Any]]:
        """Return the figures as CloudWatch takes them; those of workers only if there are any."""
        counted = self.backlog
        values: list[tuple[str, float, str]] = [
            ("Instances", self.instances, "Count"),
            ("DesiredInstances", self.desired, "Count"),
            ("MissingInstances", max(0, self.desired - self.instances), "Count"),
            (
                "QueuedTasks",
                counted["no_worker"] + counted["queued"] + counted["processing"] - counted["running"],
                "Count",
            ),
            ("RunningTasks", counted["running"], "Count"),
            ("BytesReceived", self.received_bytes, "Bytes"),
        ]
        if counted["workers"]:
            memory = 100 * counted["used_bytes"] / counted["memory_bytes"] if counted["memory_bytes"] else 0.0
            values += [
                ("MemoryPercent", memory, "Percent"),
                ("CpuPercent", counted["cpu_percent"] / max(1, counted["threads"]), "Percent"),
                ("DiskPercent", counted["disk_percent"], "Percent"),
            ]
        if self.hours_since_sync is not None:
            values.append(("HoursSinceSync", self.hours_since_sync, "None"))
        return [metric(name, value, region, unit) for name, value, unit in values]


def metric(name: str, value: float, region: str, unit: str = "Count") -> dict[str, Any]:
    """Return one figure of a Region as CloudWatch takes it."""
    dimensions = [{"Name": "Region", "Value": region}]
    return {"MetricName": name, "Dimensions": dimensions, "Value": float(value), "Unit": unit}


def publish(cloudwatch: Any, metrics: Iterable[Mapping[str, Any]]) -> None:
    """Publish figures.

    Parameters
    ----------
    cloudwatch
        Client of the client Region, where alarms and dashboard are.
    metrics
        Figures of any Regions.

    Raises
    ------
    AwsError
        As in `clients.call`.
    """
    listed = list(metrics)
    for start in range(0, len(listed), _EACH):
        call(cloudwatch, "put_metric_data", Namespace=METRICS_NAMESPACE, MetricData=listed[start : start + _EACH])


def received(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes that came into each Region between two looks at sums by ``"src->dst"``.

    A sum that is smaller than before is that of a new scheduler.
    """
    found: dict[str, int] = {}
    for pair, total in now.items():
        destination = pair.partition("->")[2]
        earlier = before.get(pair, 0)
        found[destination] = found.get(destination, 0) + (total - earlier if total >= earlier else total)
    return found
