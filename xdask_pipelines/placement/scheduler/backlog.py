"""What waits for each pool, and what the pool has: the figures that scaling decides by.

Belongs here: counting on the scheduler, in one pass. Does not belong here: deciding (scaling).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.scheduling import expected_seconds, without_worker
from xdask_pipelines.placement.dask_internals.task_states import TaskState, WorkerState
from xdask_pipelines.topology.names import POOL_PREFIX

#: Figures of one pool, all zero.
EMPTY = {
    "no_worker": 0,
    "queued": 0,
    "processing": 0,
    "running": 0,
    "workers": 0,
    "threads": 0,
    "seconds": 0.0,
    "held_bytes": 0,
    "memory_bytes": 0,
}


def pool_of(worker: WorkerState) -> str | None:
    """Region of the pool that a worker belongs to."""
    return next((r.removeprefix(POOL_PREFIX) for r in worker.resources if r.startswith(POOL_PREFIX)), None)


def count(scheduler: Scheduler, region_of: Callable[[TaskState], str | None]) -> dict[str, dict[str, Any]]:
    """Backlog of every pool that has workers or tasks.

    Parameters
    ----------
    scheduler
        Whose workers and tasks are counted.
    region_of
        Pool that a task is bound to; tasks of no pool wait for nothing that scaling a pool could give.

    Returns
    -------
    By Region: ``no_worker`` and ``queued`` tasks on the scheduler; ``processing`` tasks that were sent to workers,
    ``running`` of which their threads can run at once (Dask sends all tasks of a pool at once, so that its own "queued"
    stays 0); ``workers``, their ``threads`` and ``memory_bytes``; ``held_bytes`` of results on them; ``seconds`` of
    work in all tasks, as Dask estimates it from those that ran before.
    """
    pools: dict[str, dict[str, Any]] = {}
    for worker in scheduler.workers.values():
        if (region := pool_of(worker)) is None:
            continue
        pool = pools.setdefault(region, dict(EMPTY))
        pool["workers"] += 1
        pool["threads"] += worker.nthreads
        pool["processing"] += len(worker.processing)
        pool["running"] += min(len(worker.processing), worker.nthreads)
        pool["seconds"] += worker.occupancy
        pool["held_bytes"] += worker.nbytes
        pool["memory_bytes"] += worker.memory_limit
    for state, tasks in (("no_worker", without_worker(scheduler)), ("queued", scheduler.queued)):
        for ts in tasks:
            if (region := region_of(ts)) is not None:
                pool = pools.setdefault(region, dict(EMPTY))
                pool[state] += 1
                pool["seconds"] += expected_seconds(scheduler, ts)
    return pools
