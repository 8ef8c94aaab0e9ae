"""Transfers of results between Regions: each result is sent to a Region once, as soon as it is ready.

Belongs here: choosing the worker that fetches a result for its pool, the moment of the transfer, and the limit of
prefetched bytes. Does not belong here: where tasks run (assignment, placement_rules), passing a result on within a pool
(worker.relays).

In plain Dask each worker fetches a result from the worker that computed it: a climatology crossed three times to a pool
of three processes. Plain Dask also sends a task to a worker when all inputs are in memory, and only then fetches them.
Over a WAN that costs three round trips, and more for a new connection (0.9 s at 200 ms for 221 kB, measured), although
one input may have been ready long before the other.
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

#: Limit of prefetched bytes in the memory of one pool.
MAX_BYTES = 64_000_000
#: How many dependents, or inputs, of a result are checked: checking all of 10,000 for each of them would take too long.
_LOOKED_AT = 64


class Crossings:
    """Results that are in pools of other Regions, or on their way there.

    Parameters
    ----------
    pool
        Returns the running workers of a Region's pool.
    """

    def __init__(self, pool: Callable[[str], list[WorkerState]]) -> None:
        self._pool = pool
        self._ahead: Counter[str] = Counter()
        self._ahead_of_key: dict[Key, list[tuple[str, int]]] = {}
        self._first: dict[Key, dict[str, str]] = {}

    def start(self, scheduler: Scheduler) -> None:
        """Choose the holders from which workers fetch results of other Regions."""
        self._scheduler = scheduler
        name_holders_by(scheduler, self._holders)

    def ready(self, ts: TaskState, user: TaskState, region: str) -> None:
        """Prefetch a result that is in memory for a task of another Region that still waits for other inputs.

        Parameters
        ----------
        ts, user
            The result, and the task that needs it.
        region
            Region in which ``user`` will run.
        """
        sent = self._ahead_of_key.get(ts.key, [])
        nbytes = ts.get_nbytes()
        if not user.waiting_on or any(to == region for to, _ in sent) or self._ahead[region] + nbytes > MAX_BYTES:
            return
        pool = set(self._pool(region))
        if not pool or region in self._first.get(ts.key, ()) or any(ws in pool for ws in ts.who_has or ()):
            return
        input_bytes: Counter[WorkerState] = Counter()
        for needed in islice(user.dependencies, _LOOKED_AT):
            for ws in pool & (needed.who_has or set()):
                input_bytes[ws] += needed.get_nbytes()
        best = min(pool, key=lambda ws: (-input_bytes[ws], ws.nbytes, ws.address))
        self._acquire(ts, best)
        self._first.setdefault(ts.key, {})[region] = best.address
        self._ahead_of_key[ts.key] = [*sent, (region, nbytes)]
        self._ahead[region] += nbytes

    def left(self, key: Key) -> None:
        """Note that a result was released or lost."""
        self._first.pop(key, None)
        for region, nbytes in self._ahead_of_key.pop(key, ()):
            self._ahead[region] -= nbytes

    def clear(self) -> None:
        """Forget all transfers."""
        self._ahead.clear()
        self._ahead_of_key.clear()
        self._first.clear()

    def _holders(self, ts: TaskState, who_has: Mapping[Key, Sequence[str]]) -> dict[Key, Sequence[str]]:
        """Return the addresses from which the worker of a task fetches each input; its own pool comes first."""
        ws = ts.processing_on
        region = pool_of(ws) if ws else None
        if ws is None or region is None:
            return dict(who_has)
        return {d.key: self._holders_for(d, ws, region) or who_has[d.key] for d in ts.dependencies}

    def _holders_for(self, ts: TaskState, ws: WorkerState, region: str) -> Sequence[str]:
        """Return workers of the pool that hold a result or are fetching it; none if this worker shall fetch it."""
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
            # The worker may have dropped the result after an earlier task. If it is fetching the result now, this does
            # nothing.
            self._acquire(ts, first)
        return [first.address]

    def _acquire(self, ts: TaskState, ws: WorkerState) -> None:
        acquire(self._scheduler, ws.address, [ts.key], f"xdask-prefetch-{monotonic()}")
