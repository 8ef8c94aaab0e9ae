"""The backlog of each pool, and its workers: the figures on which scaling decides.

Belongs here: counting the tasks and workers of a scheduler in one pass. Does not belong here: deciding how many workers
a pool should have (scaling).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.scheduling import expected_seconds, without_worker
from xdask_pipelines.placement.dask_internals.task_states import TaskState, WorkerState
from xdask_pipelines.placement.worker.spill_disk import SPILL_METRIC
from xdask_pipelines.topology.names import POOL_PREFIX

#: The figures of a pool without workers and tasks.
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
    "used_bytes": 0,
    "cpu_percent": 0.0,
    "disk_percent": 0.0,
}


def region_of_resources(resources: Iterable[str]) -> str | None:
    """Return the Region of the pool that is among the resources of a worker."""
    for name in resources:  # the scheduler asks for each task: a generator takes twice as long
        if name.startswith(POOL_PREFIX):
            return name.removeprefix(POOL_PREFIX)
    return None


def pool_of(worker: WorkerState) -> str | None:
    """Return the Region of a worker's pool; None if the worker has no pool."""
    return region_of_resources(worker.resources)


def count(scheduler: Scheduler, region_of: Callable[[TaskState], str | None]) -> dict[str, dict[str, Any]]:
    """Count the backlog of every pool that has workers or tasks.

    Parameters
    ----------
    scheduler
        The scheduler whose workers and tasks are counted.
    region_of
        Returns the Region to which a task is bound, or None. Tasks without a pool are not counted: scaling a pool would
        not help them.

    Returns
    -------
    The figures of each pool, by Region: ``no_worker`` and ``queued`` are tasks on the scheduler; ``processing`` are
    tasks that were sent to workers, and ``running`` those of them that have a thread (Dask sends all tasks of a pool at
    once, so that its own "queued" stays 0); ``workers``, ``threads`` and ``memory_bytes`` describe the pool;
    ``held_bytes`` is the size of the results on its workers; ``seconds`` is the work in all tasks, which Dask estimates
    from earlier tasks. ``cpu_percent`` (100 for each busy thread) and ``used_bytes`` of memory are sums of what its
    processes reported last, ``disk_percent`` is the use of the fullest disk to which they spill.
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
        pool["cpu_percent"] += worker.metrics.get("cpu", 0.0)
        pool["used_bytes"] += worker.metrics.get("memory", 0)
        pool["disk_percent"] = max(pool["disk_percent"], worker.metrics.get(SPILL_METRIC, 0.0))
    for state, tasks in (("no_worker", without_worker(scheduler)), ("queued", scheduler.queued)):
        for ts in tasks:
            if (region := region_of(ts)) is not None:
                pool = pools.setdefault(region, dict(EMPTY))
                pool[state] += 1
                pool["seconds"] += expected_seconds(scheduler, ts)
    return pools
