"""Which tasks are suspected when a worker dies: those that it may have been running, not all that wait on it.

Belongs here: whom Dask counts a death against. Does not belong here: what a user reads of it (compute), frozen workers
(frozen).

Dask fails a task with `KilledWorker` once four workers died to which it had been *sent*. Tasks of a pool are sent at once:
one task that ends its process four times failed all that other clients had waiting on that worker.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import Any

from distributed import Scheduler
from distributed.scheduler import TaskState, WorkerState


def suspect_only_running_tasks(scheduler: Scheduler) -> None:
    """Make a scheduler count the death of a worker against the tasks that it may have been running."""
    remove_worker = scheduler.remove_worker

    async def remove(address: str, *, stimulus_id: str, expected: bool = False, close: bool = True) -> Any:
        ws = scheduler.workers.get(address)
        if ws is not None and not expected:
            for ts in set(ws.processing) - may_run(ws):
                ts.suspicious -= 1  # Dask adds one for all that were sent
        return await remove_worker(address, stimulus_id=stimulus_id, expected=expected, close=close)

    scheduler.remove_worker = scheduler.handlers["unregister"] = remove  # type: ignore[method-assign]


def may_run(ws: WorkerState) -> set[TaskState]:
    """Tasks that a worker may be running: it begins those whose inputs it has by priority, one for each thread.

    The scheduler is not told what a worker begins. Tasks whose inputs are on their way count with those of their priority.
    """
    ready = (ts.priority or () for ts in ws.processing if all(ws in (dep.who_has or ()) for dep in ts.dependencies))
    first = nsmallest(ws.nthreads, ready)
    return {ts for ts in ws.processing if ts in ws.long_running or not first or (ts.priority or ()) <= first[-1]}
