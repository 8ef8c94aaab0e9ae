"""Results stay in their pool when Dask retires workers, removes replicas, rebalances or replicates.

Belongs here: limits to transfers that no task asked for. Does not belong here: where tasks run (placement_rules),
transfers of a task's inputs (crossings).

Dask moves results when a worker is retired, when it removes replicas, and when a client calls rebalance or replicate.
It does not know about Regions (4 of 5 chunks of a retired worker went to another pool, measured). `keep_home` limits
each of these to one pool. Work stealing needs no change: it respects resource restrictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from distributed import Scheduler
from distributed.active_memory_manager import ReduceReplicas, RetireWorker, Suggestion, SuggestionGenerator

from xdask_pipelines.placement.dask_internals.result_copies import acquire_by, retire_by, send_for, thin_out_by
from xdask_pipelines.placement.dask_internals.scheduler_requests import handle
from xdask_pipelines.placement.dask_internals.task_states import TaskState, WorkerState
from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.topology.names import POOL_PREFIX


def keep_home(scheduler: Scheduler, region_of: Callable[[TaskState], str | None]) -> None:
    """Make a scheduler move results only within pools.

    Parameters
    ----------
    scheduler
        The scheduler.
    region_of
        Returns the Region to which a task is bound, or None.
    """
    retire_by(_RetireWithinPool)
    thin_out_by(scheduler, _ReduceReplicasAbroad(region_of))
    handle(scheduler, "rebalance", _within_pools(scheduler, scheduler.rebalance))
    handle(scheduler, "replicate", _within_pools(scheduler, scheduler.replicate))
    acquire_by(scheduler, _from_the_pool(scheduler))


class _RetireWithinPool(RetireWorker):
    """Moves results that only the retiring worker holds to workers of its pool; refuses if the pool has no other worker."""

    __slots__ = ()

    def _mates(self, ws: WorkerState) -> set[WorkerState]:
        return {o for o in self.manager.scheduler.running if o is not ws and pool_of(o) == pool_of(ws)}

    def _is_safe(self, ts: TaskState, ws: WorkerState, mates: set[WorkerState]) -> bool:
        """Return whether a result can be dropped here: this pool or the result's own pool has a copy.

        If this pool has no other worker, a copy on any worker suffices.
        """
        others = {other for other in ts.who_has or () if other is not ws and other in self.manager.scheduler.running}
        abroad = {other for other in others if _is_at_home(ts, other)} if not _is_at_home(ts, ws) else set()
        return ts.actor or bool(others & mates or abroad if mates else others)

    def run(self) -> SuggestionGenerator:
        ws = self.manager.scheduler.workers.get(self.address)
        if ws is None:
            self.manager.policies.remove(self)
            return
        mates, left, stranded = self._mates(ws), 0, bool(ws.actors)
        for ts in list(ws.has_what):
            if self._is_safe(ts, ws, mates):
                if len(ts.who_has or ()) > 1:
                    yield Suggestion("drop", ts, {ws})
                continue
            left += 1
            pending = self.manager.pending.get(ts)
            if not (pending and pending[0] & mates) and not (yield Suggestion("replicate", ts, mates)):
                stranded = True
        if stranded:
            self.no_recipients = True
        if stranded or not left:
            self.manager.policies.remove(self)

    def done(self) -> bool:
        ws = self.manager.scheduler.workers.get(self.address)
        if self not in self.manager.policies or ws is None:
            return True
        mates = self._mates(ws)
        return all(self._is_safe(ts, ws, mates) for ts in ws.has_what)


class _ReduceReplicasAbroad(ReduceReplicas):
    """Keeps one replica of a result in its own pool, and one in each pool where tasks wait for it.

    A replica that is dropped in such a pool would have to cross again (1.6 times the bytes of a correlation, measured).
    """

    __slots__ = ("_region_of",)

    def __init__(self, region_of: Callable[[TaskState], str | None]) -> None:
        super().__init__()
        self._region_of = region_of

    def run(self) -> SuggestionGenerator:
        for suggestion in super().run():
            ts = suggestion.ts
            pending = self.manager.pending.get(ts)
            held = (ts.who_has or set()) - (pending[1] if pending else set())
            needed = {self._region_of(waiter) for waiter in ts.waiters or ()}
            pools: dict[str | None, list[WorkerState]] = {}
            for ws in held:
                if _is_at_home(ts, ws) or pool_of(ws) in needed:
                    pools.setdefault(pool_of(ws), []).append(ws)
            yield Suggestion(
                "drop", ts, held - {ws for members in pools.values() if len(members) == 1 for ws in members}
            )


def _is_at_home(ts: TaskState, ws: WorkerState) -> bool:
    return any(r.startswith(POOL_PREFIX) and r in ws.resources for r in ts.resource_restrictions or ())


def _within_pools(scheduler: Scheduler, move: Callable[..., Any]) -> Callable[..., Any]:
    """Return `Scheduler.rebalance` or `replicate` as a function that treats each pool separately."""

    async def moved(
        keys: Iterable[Any] | None = None, workers: Iterable[str] | None = None, **options: Any
    ) -> dict[str, Any]:
        wanted = None if keys is None else list(keys)
        missing = [k for k in wanted or () if k not in scheduler.tasks or not scheduler.tasks[k].who_has]
        if missing:
            return {"status": "partial-fail", "keys": missing}
        allowed = set(scheduler.workers if workers is None else scheduler.workers_list(workers))
        pools: dict[str | None, list[WorkerState]] = {}
        for ws in scheduler.running:
            if ws.address in allowed:
                pools.setdefault(pool_of(ws), []).append(ws)
        answers = []
        for region, members in pools.items():
            mine = [k for k in wanted or () if _home(scheduler.tasks[k]) == region]
            if wanted is None or mine:
                addresses = [ws.address for ws in members]
                chosen = {} if wanted is None else {"keys": mine}
                answers.append(await move(workers=addresses, **chosen, **options))
        failed = [k for answer in answers if answer for k in answer.get("keys", ())]
        return {"status": "partial-fail", "keys": failed} if failed else {"status": "OK"}

    return moved


def _from_the_pool(scheduler: Scheduler) -> Callable[..., None]:
    """Return `Scheduler.request_acquire_replicas` as a function that prefers holders in the worker's own pool."""

    def request(addr: str, keys: Iterable[Any], *, stimulus_id: str) -> None:
        pool, who_has, nbytes = pool_of(scheduler.workers[addr]), {}, {}
        for key in keys:
            ts = scheduler.tasks[key]
            near = [ws.address for ws in ts.who_has or () if pool_of(ws) == pool]
            who_has[key] = near or [ws.address for ws in ts.who_has or ()]
            nbytes[key] = ts.nbytes
        send_for(scheduler, addr, who_has, nbytes, stimulus_id)

    return request


def _home(ts: TaskState) -> str | None:
    """Return the pool that holds a result: its own pool if possible, else another one."""
    return pool_of(min(ts.who_has or (), key=lambda ws: (not _is_at_home(ts, ws), str(pool_of(ws)))))
