"""Inputs from other Regions are on their way before the task that needs them can run.

Belongs here: which results are sent ahead, and how many bytes of them a pool may hold. Does not belong here: where tasks run
(assignment, placement_rules).

A task is sent to a worker when all its inputs are in memory, and the worker fetches them then: over a WAN that costs three
round trips and more for a new connection (0.9 s at 200 ms for 221 kB, measured), although one input may have been ready long
before the other. It must cross anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.result_copies import acquire
from xdask_pipelines.placement.dask_internals.task_states import TaskState, WorkerState

#: Most that lies in a pool's memory ahead of its use.
MAX_BYTES = 64_000_000


class Prefetch:
    """Results on their way to, or in, the pools of tasks that wait for them.

    Parameters
    ----------
    pool
        Running workers of a Region's pool.
    """

    def __init__(self, pool: Callable[[str], list[WorkerState]]) -> None:
        self._pool = pool
        self._ahead: Counter[str] = Counter()
        self._of_key: dict[Key, list[tuple[str, int]]] = {}

    def ready(self, scheduler: Scheduler, ts: TaskState, user: TaskState, region: str) -> None:
        """A result came into memory, and a task of another Region waits for it and for more.

        Parameters
        ----------
        scheduler
            That knows both.
        ts, user
            Result, and the task that needs it.
        region
            Where ``user`` will run.
        """
        sent = self._of_key.get(ts.key, [])
        nbytes = ts.get_nbytes()
        if not user.waiting_on or any(to == region for to, _ in sent) or self._ahead[region] + nbytes > MAX_BYTES:
            return
        pool = self._pool(region)
        if not pool or any(ws in pool for ws in ts.who_has or ()):
            return
        beside = Counter({ws: dep.get_nbytes() for dep in user.dependencies for ws in dep.who_has or () if ws in pool})
        best = min(pool, key=lambda ws: (-beside[ws], ws.nbytes, ws.address))
        acquire(scheduler, best.address, [ts.key], f"xdask-prefetch-{monotonic()}")
        self._of_key[ts.key] = [*sent, (region, nbytes)]
        self._ahead[region] += nbytes

    def left(self, key: Key) -> None:
        """A result is in memory no more."""
        for region, nbytes in self._of_key.pop(key, ()):
            self._ahead[region] -= nbytes

    def clear(self) -> None:
        """Forget all."""
        self._ahead.clear()
        self._of_key.clear()
