"""Changes to the states of tasks on a scheduler.

Belongs here: all writes to Dask's `TaskState`. Does not belong here: why a task is changed (scheduler, protection).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from distributed.scheduler import TaskState, WorkerState

from xdask_pipelines.placement.dask_internals.task_specs import GraphNode

__all__ = ["TaskState", "WorkerState"]


def require(ts: TaskState, resources: Mapping[str, float] | None) -> None:
    """Let a task run only on workers with these resources; None for all workers.

    The mapping is not copied, so many tasks may share one.
    """
    ts.resource_restrictions = resources  # type: ignore[assignment]


def refuse_other_workers(ts: TaskState) -> None:
    """Unset ``allow_other_workers``, which lets a task run on workers that do not meet its restrictions."""
    ts.loose_restrictions = False


def restrict(ts: TaskState, addresses: Collection[str] | None) -> None:
    """Let a task run only on these workers; None for all workers."""
    ts.worker_restrictions = None if addresses is None else set(addresses)


def free_hosts(ts: TaskState) -> None:
    """Remove the restriction of a task to hosts."""
    ts.host_restrictions = None


def annotate(ts: TaskState, annotations: Mapping[str, Any]) -> None:
    """Replace the annotations of a task, which are sent to its worker."""
    ts.annotations = dict(annotations)


def prioritise(ts: TaskState, priority: tuple[float, ...]) -> None:
    """Set the priority of a task; the smallest runs first."""
    ts.priority = priority


def respecify(ts: TaskState, spec: GraphNode) -> None:
    """Replace the specification of a task."""
    ts.run_spec = spec
