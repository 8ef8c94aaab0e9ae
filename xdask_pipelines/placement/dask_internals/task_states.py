"""States of tasks on a scheduler, as they are changed by us.

Belongs here: all writing to Dask's `TaskState`. Does not belong here: why a task is changed (scheduler, protection).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from distributed.scheduler import TaskState, WorkerState

from xdask_pipelines.placement.dask_internals.task_specs import GraphNode

__all__ = ["TaskState", "WorkerState"]


def require(ts: TaskState, resources: Mapping[str, float] | None) -> None:
    """Let a task run on workers only that have these resources; None for all workers.

    What is given is kept as it is: many tasks may share one.
    """
    ts.resource_restrictions = resources  # type: ignore[assignment]


def refuse_other_workers(ts: TaskState) -> None:
    """Take away a user's leave to run on workers that do not meet restrictions (``allow_other_workers``)."""
    ts.loose_restrictions = False


def restrict(ts: TaskState, addresses: Collection[str] | None) -> None:
    """Let a task run on these workers only; None for all."""
    ts.worker_restrictions = None if addresses is None else set(addresses)


def free_hosts(ts: TaskState) -> None:
    """Let a task run on all hosts."""
    ts.host_restrictions = None


def annotate(ts: TaskState, annotations: Mapping[str, Any]) -> None:
    """Give a task annotations in place of those that it has; they travel to its worker."""
    ts.annotations = dict(annotations)


def prioritise(ts: TaskState, priority: tuple[float, ...]) -> None:
    """Give a task a priority; the smallest runs first."""
    ts.priority = priority


def respecify(ts: TaskState, spec: GraphNode) -> None:
    """Make a task do something else."""
    ts.run_spec = spec
