"""A result crosses to another Region once, however many workers need it there, and as soon as it is ready.

Belongs here: which worker gets a result of another Region for its pool, when, and how many bytes a pool may hold ahead of
their use. Does not belong here: where tasks run (assignment, placement_rules), how its mates get it (worker.relays).

Left to Dask, each worker that needs a result gets it where it was made: a climatology crossed three times to a pool of
three processes. And a task is sent to a worker when all its inputs are in memory, and the worker fetches them then: over a
WAN that costs three round trips and more for a new connection (0.9 s at 200 ms for 221 kB, measured), although one input may
have been ready long before the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from time import monotonic

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.result_copies import acquire
from xdask_pipelines.placement.dask_internals.scheduling import name_holders_by
from xdask_pipelines.placement.dask_internals.task_states import TaskState, WorkerState
from xdask_pipelines.placement.scheduler.backlog import pool_of

#: Most that lies in a pool's memory ahead of its use.
MAX_BYTES = 64_000_000
#: Users of a result among which one is looked for that runs on a given worker: all of 10,000 would take too long.
_LOOKED_AT = 64


class Crossings:
    """Results on their way to, or in, pools of other Regions.

    Parameters
    ----------
    pool
        Running workers of a Region's pool.
    """

    def __init__(self, pool: Callable[[str], list[WorkerState]]) -> None:
        self._pool = pool
        self._ahead: Counter[str] = Counter()
        self._ahead_of_key: dict[Key, list[tuple[str, int]]] = {}
        self._first: dict[Key, dict[str, str]] = {}

    def start(self, scheduler: Scheduler) -> None:
        """Tell workers from whom they get what comes from other Regions."""
        self._scheduler = scheduler
        name_holders_by(scheduler, self._holders)

    def ready(self, ts: TaskState, user: TaskState, region: str) -> None:
        """A result came into memory, and a task of another Region waits for it and for more: it is fetched ahead.

        Parameters
        ----------
        ts, user
            Result, and the task that needs it.
        region
            Where ``user`` will run.
        """
        sent = self._ahead_of_key.get(ts.key, [])
        nbytes = ts.get_nbytes()
        if not user.waiting_on or any(to == region for to, _ in sent) or self._ahead[region] + nbytes > MAX_BYTES:
            return
        pool = self._pool(region)
        if not pool or region in self._first.get(ts.key, ()) or any(ws in pool for ws in ts.who_has or ()):
            return
        beside = Counter({ws: dep.get_nbytes() for dep in user.dependencies for ws in dep.who_has or () if ws in pool})
        best = min(pool, key=lambda ws: (-beside[ws], ws.nbytes, ws.address))
        self._acquire(ts, best)
        self._first.setdefault(ts.key, {})[region] = best.address
        self._ahead_of_key[ts.key] = [*sent, (region, nbytes)]
        self._ahead[region] += nbytes

    def left(self, key: Key) -> None:
        """A result is in memory no more."""
        self._first.pop(key, None)
        for region, nbytes in self._ahead_of_key.pop(key, ()):
            self._ahead[region] -= nbytes

    def clear(self) -> None:
        """Forget all."""
        self._ahead.clear()
        self._ahead_of_key.clear()
        self._first.clear()

    def _holders(self, ts: TaskState, who_has: Mapping[Key, Sequence[str]]) -> dict[Key, Sequence[str]]:
        """Addresses from which the worker of a task gets its inputs: those of its own pool if it has or awaits them."""
        ws = ts.processing_on
        region = pool_of(ws) if ws else None
        if ws is None or region is None:
            return dict(who_has)
        return {d.key: self._holders_for(d, ws, region) or who_has[d.key] for d in ts.dependencies}

    def _holders_for(self, ts: TaskState, ws: WorkerState, region: str) -> Sequence[str]:
        """Workers of the pool that have a result or are fetching it; none if this worker is to fetch it itself."""
        held = ts.who_has or ()
        if ws in held:
            return ()
        if near := [other.address for other in held if pool_of(other) == region]:
            return near
        firsts = self._first.setdefault(ts.key, {})
        first = self._scheduler.workers.get(firsts.get(region, ""))
        if first is None or first not in self._scheduler.running:
            firsts[region] = ws.address
            return ()
        if first is ws:
            return ()
        if not any(user.processing_on is first for user in islice(ts.dependents, _LOOKED_AT)):
            # It may have had the result for an earlier task, and dropped it since. If it is getting it, this does nothing.
            self._acquire(ts, first)
        return [first.address]

    def _acquire(self, ts: TaskState, ws: WorkerState) -> None:
        acquire(self._scheduler, ws.address, [ts.key], f"xdask-prefetch-{monotonic()}")
