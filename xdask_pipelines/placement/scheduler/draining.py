"""Draining: removing workers from a pool without losing or recomputing results.

Belongs here: choosing the workers that leave, handing over their tasks, refusing to drain. Does not belong here: the
client's request (drain), where results move meanwhile (pool_transfers), how many workers a pool should have (scaling).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from heapq import heapify, heapreplace
from typing import Any

from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.scheduler_requests import answer
from xdask_pipelines.placement.dask_internals.scheduling import assigned, close_gracefully, hand_over, reopen
from xdask_pipelines.placement.dask_internals.task_states import TaskState, WorkerState
from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.names import pool_name

_LOOK_SECONDS = 0.05
#: How long a client waits for a drain that it only begins: long enough to hear a refusal.
_BEGIN_SECONDS = 0.3
Workers = int | Sequence[str]


class Draining:
    """The drains of one scheduler."""

    def __init__(self) -> None:
        self._begun: set[asyncio.Task[dict[str, Any]]] = set()

    def start(self, scheduler: Scheduler) -> None:
        """Answer clients: ``drain`` when it is done, ``begin_drain`` at once."""

        async def drain(region: str, workers: Workers, *, close: bool = True) -> dict[str, Any]:
            return await drain_on_scheduler(scheduler, region, workers, close=close)

        async def begin(region: str, workers: Workers) -> dict[str, Any]:
            task = asyncio.create_task(drain_on_scheduler(scheduler, region, workers, close=False, remove=False))
            self._begun.add(task)  # or it may be collected before its end
            task.add_done_callback(self._begun.discard)
            done, _ = await asyncio.wait({task}, timeout=_BEGIN_SECONDS)
            return task.result() if done else {}

        answer(scheduler, "drain", drain)
        answer(scheduler, "begin_drain", begin)


async def drain_on_scheduler(
    scheduler: Scheduler, region: str, workers: Workers, *, close: bool = True, remove: bool = True
) -> dict[str, Any]:
    """Drain workers of a pool, and return ``{"drained": addresses}`` or ``{"refused": reason}``.

    Without ``close`` the workers are expected to end by themselves afterwards. Without ``remove`` they stay connected, and
    take no tasks, until they are stopped.
    """
    pool = {ws for ws in scheduler.running if pool_of(ws) == region}
    if isinstance(workers, int):
        leaving = set(sorted(pool, key=lambda ws: (ws.nbytes, len(ws.processing), ws.address))[:workers])
        if len(leaving) < workers:
            return {
                "refused": f"The pool of {region} has {counted(len(pool), 'running worker')}, fewer than {workers}."
            }
    else:
        leaving = {ws for ws in pool if ws.address in workers}
        if unknown := sorted(set(workers) - {ws.address for ws in leaving}):
            return {"refused": f"The pool of {region} has no running worker at {', '.join(unknown)}."}
    if why := _refuses(region, leaving, pool - leaving):
        return {"refused": why}
    before = [ws.address for ws in leaving]
    for ws in leaving:
        close_gracefully(scheduler, ws)
    handed = await _hand_over_tasks(scheduler, leaving, region)
    drained = await scheduler.retire_workers(workers=before, close_workers=close, remove=remove) if handed else {}
    stayed = [ws for ws in leaving if ws.address not in drained and scheduler.workers.get(ws.address) is ws]
    for ws in stayed:
        reopen(scheduler, ws)
    if stayed:
        names = ", ".join(sorted(ws.address for ws in stayed))
        return {
            "refused": f"The pool of {region} has no other worker that can take over the tasks and results of {names}, "
            "so they continue to run. Check the pool with `xdask pools status`, then drain again."
        }
    return {"drained": sorted(before)}


def _refuses(region: str, leaving: set[WorkerState], staying: set[WorkerState]) -> str:
    if staying:
        return ""
    results = sum(not set(ts.who_has or ()) - leaving for ws in leaving for ts in ws.has_what)
    tasks = sum(len(ws.processing) for ws in leaving)
    if not results and not tasks:
        return ""
    return (
        f"The last workers of the pool {pool_name(region)} cannot be drained: {counted(results, 'result')} and "
        f"{counted(tasks, 'task')} on them are still needed, and {region} has no other worker to take them over. "
        "Wait until the runs that need them end, or add a worker to the pool."
    )


async def _hand_over_tasks(scheduler: Scheduler, leaving: set[WorkerState], region: str) -> bool:
    """Spread waiting tasks over the other workers of the pool, and wait until running tasks end.

    Returns False if the pool has no other worker any more.
    """
    requested: set[TaskState] = set()
    while busy := [ws for ws in leaving if ws.processing and scheduler.workers.get(ws.address) is ws]:
        takers = [ws for ws in scheduler.running if pool_of(ws) == region]
        if not takers:
            return False
        loads = [(assigned(scheduler, ws), ws.address, ws) for ws in takers]
        heapify(loads)
        for giver in busy:
            for ts in [ts for ts in giver.processing if ts not in requested and ts not in giver.long_running]:
                # A worker does not hand over a task that it has begun, so each task is requested only once.
                requested.add(ts)
                load, address, taker = loads[0]
                hand_over(scheduler, ts, giver, taker)
                heapreplace(loads, (load + 1, address, taker))
        await asyncio.sleep(_LOOK_SECONDS)
    return True
