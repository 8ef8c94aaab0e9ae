"""Pools without workers: tasks that wait for them fail with an error, while plain Dask would wait forever.

Belongs here: the timeout and the error. Does not belong here: starting workers (cluster, scaling).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from time import monotonic

from distributed import Scheduler

from xdask_pipelines.errors import EmptyPool
from xdask_pipelines.placement.dask_internals.scheduling import fail, without_worker
from xdask_pipelines.placement.dask_internals.task_states import TaskState
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.names import pool_name


def staffed(scheduler: Scheduler) -> set[str]:
    """Return the pools with a worker that takes tasks, now or when it has memory again; a retired one never does."""
    workers = scheduler.workers.values()
    return {pool for worker in workers if worker.status.name != "closing_gracefully" for pool in worker.resources}


class EmptyPools:
    """Fails tasks whose pool has had no worker for too long.

    Parameters
    ----------
    seconds
        Timeout of tasks for a pool that is not scaled up.
    start_command
        Command that starts the pools, for the message.
    scale_up_seconds
        Timeout of tasks if empty pools are scaled up; None if they are not.
    regions
        Regions that should have a pool, for the message; empty if they are unknown.
    """

    def __init__(
        self, seconds: float, start_command: str, scale_up_seconds: float | None, regions: Collection[str] = ()
    ) -> None:
        self._regions = sorted(regions)
        self.seconds = seconds if scale_up_seconds is None else scale_up_seconds
        self._why = "" if scale_up_seconds is None else " It should have been scaled up in that time, but was not."
        self._start_command = start_command
        self._since: dict[str, float] = {}

    def look(self, scheduler: Scheduler, pool_of_wait: Callable[[TaskState], str | None]) -> None:
        """Fail tasks that have waited too long. The plugin calls this twice a second.

        Parameters
        ----------
        scheduler
            The scheduler whose tasks are checked.
        pool_of_wait
            Returns the Region of the pool for which a task waits; None if it may run in any pool.
        """
        waiting: defaultdict[str, list[TaskState]] = defaultdict(list)
        for ts in without_worker(scheduler):
            if region := pool_of_wait(ts):
                waiting[region].append(ts)
        there = staffed(scheduler)
        self._since = {r: self._since.get(r, monotonic()) for r in waiting if pool_name(r) not in there}
        for region, since in self._since.items():
            if monotonic() - since < self.seconds:
                continue
            error = EmptyPool(
                f"The pool {pool_name(region)} of Region {region} has no worker; {counted(len(waiting[region]), 'task')} "
                f"waited {self.seconds:.0f} s for one.{self._remedy(region)}, then run again.",
                region=region,
            )
            for ts in waiting[region]:
                fail(scheduler, ts, error)

    def _remedy(self, region: str) -> str:
        if self._regions and region not in self._regions:
            return f" This Region is not configured. Available: {', '.join(self._regions)}. Use one, or add the Region"
        return f"{self._why} Start it with `{self._start_command}`"
