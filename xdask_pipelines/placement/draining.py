"""Data stays in its pool: taking workers out of a pool, and Dask's own ways of moving results about.

Belongs here: where copies of results may go when nobody's task asks for them. Does not belong here: where tasks run.

Dask moves results when a worker is retired, when it thins out copies, and when a client asks it to rebalance or
replicate; it knows nothing of Regions (4 of 5 chunks of a retired worker went to another pool, measured). `keep_home`
teaches each of them to stay within a pool. Work stealing needs no teaching: it heeds restrictions.
"""

from __future__ import annotations

from asyncio import gather, sleep
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

import distributed.scheduler
from distributed import Client, Scheduler
from distributed.active_memory_manager import ReduceReplicas, RetireWorker, Suggestion, SuggestionGenerator
from distributed.core import Status
from distributed.scheduler import TaskState, WorkerState

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.names import pool_name
from xdask_pipelines.placement.backlog import pool_of

_LOOK_SECONDS = 0.05
Workers = int | Sequence[str]


def drain(client: Client, region: str, workers: Workers = 1) -> list[str]:
    """Take workers out of a pool without losing or recomputing anything.

    They take no new tasks, finish those that run, hand what waits and what they hold to the other workers of their
    pool, and end with their nannies. Nothing leaves the Region.

    Parameters
    ----------
    client
        Connected to a scheduler that `local_regions` or ``xdask pools up`` started.
    region
        Region of the pool.
    workers
        How many (those that hold least), or addresses of workers.

    Returns
    -------
    Addresses of the workers that ended.

    Raises
    ------
    PlacementError
        If the pool has no such workers, or those that stay cannot take over what is needed: nothing was drained.
    """
    answer = client.sync(client.scheduler.xdask_drain, region=region, workers=workers)  # type: ignore[union-attr]
    if "refused" in answer:
        raise PlacementError(answer["refused"])
    return list(answer["drained"])


async def drain_on_scheduler(scheduler: Scheduler, region: str, workers: Workers) -> dict[str, Any]:
    """Answer `drain`: ``{"drained": addresses}`` or ``{"refused": why}``."""
    pool = {ws for ws in scheduler.running if pool_of(ws) == region}
    if isinstance(workers, int):
        leaving = set(sorted(pool, key=lambda ws: (ws.nbytes, len(ws.processing), ws.address))[:workers])
        if len(leaving) < workers:
            return {"refused": f"The pool of {region} has {len(pool)} running worker(s), fewer than {workers}."}
    else:
        leaving = {ws for ws in pool if ws.address in workers}
        if unknown := sorted(set(workers) - {ws.address for ws in leaving}):
            return {"refused": f"The pool of {region} has no running worker at {', '.join(unknown)}."}
    staying = pool - leaving
    if why := _refuses(region, leaving, staying):
        return {"refused": why}
    before = [ws.address for ws in leaving]
    for ws in leaving:
        _set_status(scheduler, ws, Status.closing_gracefully)
    await gather(*(_hand_over_tasks(scheduler, ws, staying) for ws in leaving))
    drained = await scheduler.retire_workers(workers=before, close_workers=True)
    for ws in leaving:
        if ws.address not in drained and scheduler.workers.get(ws.address) is ws:
            _set_status(scheduler, ws, Status.running)
    if stayed := sorted(set(before) - set(drained)):
        return {"refused": f"Of the pool of {region}, no worker could take over what {', '.join(stayed)} hold."}
    return {"drained": sorted(drained)}


def _refuses(region: str, leaving: set[WorkerState], staying: set[WorkerState]) -> str:
    if staying:
        return ""
    results = sum(not set(ts.who_has or ()) - leaving for ws in leaving for ts in ws.has_what)
    tasks = sum(len(ws.processing) for ws in leaving)
    if not results and not tasks:
        return ""
    return (
        f"The last worker(s) of the pool {pool_name(region)} cannot be drained: they hold {results} results and have "
        f"{tasks} tasks that are still needed, and no other worker of {region} could take them over. Let the runs that "
        "need them end first, or add a worker to the pool."
    )


def _set_status(scheduler: Scheduler, ws: WorkerState, status: Status) -> None:
    """As `Scheduler.retire_workers` does: on the scheduler at once, and told to the worker."""
    stimulus = f"xdask-drain-{monotonic()}"
    scheduler.handle_worker_status_change(status, ws, stimulus)
    message = {"op": "worker-status-change", "status": status.name, "stimulus_id": stimulus}
    scheduler.stream_comms[ws.address].send(message)


async def _hand_over_tasks(scheduler: Scheduler, ws: WorkerState, staying: set[WorkerState]) -> None:
    """Wait until a worker has no task: what it has not begun is stolen from it, what runs ends there."""
    stealing = scheduler.extensions["stealing"]
    asked: set[TaskState] = set()
    while scheduler.workers.get(ws.address) is ws and ws.processing:
        takers = [other for other in staying if other in scheduler.running]
        for ts in list(ws.processing):
            if takers and ts not in asked and ts not in ws.long_running:
                # The worker refuses for what it has begun: each is asked for once.
                asked.add(ts)
                stealing.move_task_request(ts, ws, min(takers, key=lambda t: len(t.processing)))
        await sleep(_LOOK_SECONDS)


# ---- Dask's own ways --------------------------------------------------------------------------------------------


def keep_home(scheduler: Scheduler) -> None:
    """Make a scheduler move results within pools only, whoever asks for it."""
    distributed.scheduler.RetireWorker = _RetireWithinPool  # type: ignore[attr-defined]
    memory = scheduler.extensions["amm"]
    for policy in [p for p in memory.policies if type(p) is ReduceReplicas]:
        memory.policies.remove(policy)
        memory.add_policy(_ReduceReplicasAbroad())
    scheduler.handlers["rebalance"] = _within_pools(scheduler, scheduler.rebalance)
    scheduler.handlers["replicate"] = _within_pools(scheduler, scheduler.replicate)
    scheduler.request_acquire_replicas = _from_the_pool(scheduler)  # type: ignore[method-assign]


class _RetireWithinPool(RetireWorker):
    """Moves what a retiring worker alone holds to workers of its pool; refuses if there are none."""

    __slots__ = ()

    def _mates(self, ws: WorkerState) -> set[WorkerState]:
        return {o for o in self.manager.scheduler.running if o is not ws and pool_of(o) == pool_of(ws)}

    def _is_safe(self, ts: TaskState, ws: WorkerState, mates: set[WorkerState]) -> bool:
        """Whether a mate holds it too; without mates a copy anywhere must do."""
        others = (ts.who_has or set()) - {ws}
        return ts.actor or bool(others & mates if mates else others & self.manager.scheduler.running)

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
    """Of several copies of a result, the last one in its own pool is kept: what is dropped may have to come back."""

    __slots__ = ()

    def run(self) -> SuggestionGenerator:
        for suggestion in super().run():
            ts = suggestion.ts
            pending = self.manager.pending.get(ts)
            held = (ts.who_has or set()) - (pending[1] if pending else set())
            home = {ws for ws in held if ts.resource_restrictions and ts.resource_restrictions.keys() & ws.resources}
            yield Suggestion("drop", ts, held - home if len(home) == 1 else held)


def _within_pools(scheduler: Scheduler, move: Callable[..., Any]) -> Callable[..., Any]:
    """`Scheduler.rebalance` or `replicate`, done for each pool by itself with the keys that it holds."""

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
    """`Scheduler.request_acquire_replicas`, which names only holders of the worker's own pool if there are any."""

    def request(addr: str, keys: Iterable[Any], *, stimulus_id: str) -> None:
        pool, who_has, nbytes = pool_of(scheduler.workers[addr]), {}, {}
        for key in keys:
            ts = scheduler.tasks[key]
            near = [ws.address for ws in ts.who_has or () if pool_of(ws) == pool]
            who_has[key] = near or [ws.address for ws in ts.who_has or ()]
            nbytes[key] = ts.nbytes
        message = {"op": "acquire-replicas", "who_has": who_has, "nbytes": nbytes, "stimulus_id": stimulus_id}
        scheduler.stream_comms[addr].send(message)

    return request


def _home(ts: TaskState) -> str | None:
    """The pool that holds a result: its own if that does, else one that holds a copy."""
    held = {pool_of(ws) for ws in ts.who_has or ()}
    own = next((r for r in held if r and pool_name(r) in (ts.resource_restrictions or {})), None)
    return own if own else min(held, key=str)
