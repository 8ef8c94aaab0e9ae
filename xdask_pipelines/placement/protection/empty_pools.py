"""Pools without workers: what waits for them fails by name, where Dask alone would wait for ever.

Belongs here: how long is waited, and what the error says. Does not belong here: starting workers (cluster, scaling).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from time import monotonic

from distributed import Scheduler

from xdask_pipelines.errors import EmptyPool
from xdask_pipelines.placement.dask_internals.scheduling import fail, without_worker
from xdask_pipelines.placement.dask_internals.task_states import TaskState
from xdask_pipelines.topology.names import pool_name


class EmptyPools:
    """Fails the tasks of pools that have been without workers for too long.

    Parameters
    ----------
    seconds
        How long tasks wait.
    start_command
        Command that starts the pools, for the message.
    scale_up_seconds
        How long they wait instead where an empty pool is scaled up; None where it is not.
    regions
        Regions that should have a pool, for the message; none if that is not known.
    """

    def __init__(
        self, seconds: float, start_command: str, scale_up_seconds: float | None, regions: Collection[str] = ()
    ) -> None:
        self._regions = sorted(regions)
        self.seconds = seconds if scale_up_seconds is None else scale_up_seconds
        self._why = "" if scale_up_seconds is None else " It should have been scaled up, and was not in that time."
        self._start_command = start_command
        self._since: dict[str, float] = {}

    def look(self, scheduler: Scheduler, pool_of_wait: Callable[[TaskState], str | None]) -> None:
        """Fail what has waited too long; called twice a second.

        Parameters
        ----------
        scheduler
            Whose tasks are looked at.
        pool_of_wait
            Region of the pool that a task waits for, None if any pool would do.
        """
        waiting: defaultdict[str, list[TaskState]] = defaultdict(list)
        for ts in without_worker(scheduler):
            if region := pool_of_wait(ts):
                waiting[region].append(ts)
        alive = {pool for worker in scheduler.workers.values() for pool in worker.resources}
        self._since = {r: self._since.get(r, monotonic()) for r in waiting if pool_name(r) not in alive}
        for region, since in self._since.items():
            if monotonic() - since < self.seconds:
                continue
            error = EmptyPool(
                f"The pool {pool_name(region)} of Region {region} has no worker, and {len(waiting[region])} tasks have "
                f"waited {self.seconds:.0f} s for one.{self._remedy(region)}, then run again.",
                region=region,
            )
            for ts in waiting[region]:
                fail(scheduler, ts, error)

    def _remedy(self, region: str) -> str:
        if self._regions and region not in self._regions:
            return f" No such Region is set up, there are {', '.join(self._regions)}: name one of them, or add it"
        return f"{self._why} Start it with `{self._start_command}`"
