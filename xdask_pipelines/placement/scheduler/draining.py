"""Taking workers out of a pool without losing or recomputing anything.

Belongs here: choosing who leaves, handing over, refusing. Does not belong here: asking for it (drain), where results move
meanwhile (pool_transfers), how many workers a pool should have (scaling).
"""

from __future__ import annotations

from asyncio import gather, sleep
from collections.abc import Sequence
from typing import Any

from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.scheduling import close_gracefully, hand_over, reopen
from xdask_pipelines.placement.dask_internals.task_states import TaskState, WorkerState
from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.names import pool_name

_LOOK_SECONDS = 0.05
Workers = int | Sequence[str]


async def drain_on_scheduler(
    scheduler: Scheduler, region: str, workers: Workers, *, close: bool = True
) -> dict[str, Any]:
    """Answer `drain`: ``{"drained": addresses}`` or ``{"refused": why}``; without ``close``, workers end by themselves."""
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
    handed = all(await gather(*(_hand_over_tasks(scheduler, ws, region) for ws in leaving)))
    drained = await scheduler.retire_workers(workers=before, close_workers=close) if handed else {}
    stayed = [ws for ws in leaving if ws.address not in drained and scheduler.workers.get(ws.address) is ws]
    for ws in stayed:
        reopen(scheduler, ws)
    if stayed:
        names = ", ".join(sorted(ws.address for ws in stayed))
        return {
            "refused": f"Of the pool of {region}, no worker was left that could take over tasks and results of {names}: "
            "they go on. See `xdask pools status`, and drain again."
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
        f"The last workers of the pool {pool_name(region)} cannot be drained: {counted(results, 'result')} that they hold "
        f"and {counted(tasks, 'task')} that they have are still needed, and no other worker of {region} could take them "
        "over. Let the runs that need them end first, or add a worker to the pool."
    )


async def _hand_over_tasks(scheduler: Scheduler, ws: WorkerState, region: str) -> bool:
    """Wait until a worker has no task: what it has not begun is stolen from it, what runs ends there.

    False if the pool has no other worker any more.
    """
    asked: set[TaskState] = set()
    while scheduler.workers.get(ws.address) is ws and ws.processing:
        takers = [other for other in scheduler.running if pool_of(other) == region]
        if not takers:
            return False
        for ts in [ts for ts in ws.processing if ts not in asked and ts not in ws.long_running]:
            # The worker refuses for what it has begun: each is asked for once.
            asked.add(ts)
            hand_over(scheduler, ts, ws, min(takers, key=lambda t: len(t.processing)))
        await sleep(_LOOK_SECONDS)
    return True
