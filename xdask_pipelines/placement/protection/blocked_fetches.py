"""Results that the scheduler cannot fetch for a client: the request fails with an error that names Regions and ports.

Belongs here: connections from the scheduler to workers. Does not belong here: those between workers, and what tells a
blocked road from an outage (blocked_roads).

A worker connects to the scheduler, so that a firewall that lets nothing in may show only when a result is fetched. Dask
(2026.8.0) then fetches again for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.connections import takes_connections
from xdask_pipelines.placement.dask_internals.scheduler_requests import handle, handler
from xdask_pipelines.placement.dask_internals.task_states import WorkerState
from xdask_pipelines.placement.protection.blocked_roads import SCHEDULER, BlockedRoads, only_behind, region_and_ports
from xdask_pipelines.placement.worker.unreachable import CONNECT_SECONDS, LOOK_SECONDS, PAUSE_SECONDS


def name_blocked_fetches(scheduler: Scheduler, roads: BlockedRoads, client_region: str) -> None:
    """Make requests for results fail that the scheduler cannot fetch from any worker that has them."""
    gather = handler(scheduler, "gather")

    async def all_open(keys: Collection[Key]) -> bool:
        """Return whether the scheduler reaches all workers that have these results.

        Raises
        ------
        PlacementError
            It has not reached those of one result for long enough to call the road blocked.
        """
        needed = [ts for key in keys if (ts := scheduler.tasks.get(key))]
        addresses = sorted({ws.address for ts in needed for ws in ts.who_has or ()})
        found = await asyncio.gather(*(takes_connections(address, CONNECT_SECONDS) for address in addresses))
        for address, is_open in zip(addresses, found, strict=True):
            (roads.forget if is_open else roads.note)(address, SCHEDULER)
        if worker := only_behind(needed, SCHEDULER, roads.blocked()):
            raise PlacementError(_message(worker, client_region))
        return all(found)

    async def gather_or_name(keys: Collection[Key], serializers: list[str] | None = None) -> Any:
        while True:
            reply = asyncio.ensure_future(gather(keys=keys, serializers=serializers))
            try:
                await asyncio.wait({reply}, timeout=LOOK_SECONDS)
                while not reply.done() and not await all_open(keys):
                    await asyncio.wait({reply}, timeout=PAUSE_SECONDS)
                answer = await reply
            finally:
                reply.cancel()
            if answer["status"] == "OK" or await all_open(keys):
                return answer
            await asyncio.sleep(PAUSE_SECONDS)

    handle(scheduler, "gather", gather_or_name)


def _message(worker: WorkerState, client_region: str) -> str:
    dst, ports = region_and_ports(worker)
    return (
        f"{client_region} cannot connect to {dst}, {ports}: the scheduler got no connection to {worker.address}, "
        f"although this worker sends heartbeats. Open these ports in {dst} for the scheduler in {client_region}, or results "
        "cannot be fetched. `xdask doctor` checks all pairs of Regions."
    )
