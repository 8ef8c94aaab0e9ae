"""Roads between Regions: which workers reach which, how far apart they are, and how fast one flow is.

Belongs here: measuring between the workers that are there. Does not belong here: conclusions (doctor), roads that
block a run (blocked_roads).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from distributed import Client, Scheduler, Worker

from xdask_pipelines.placement.dask_internals.connections import round_trip, takes_connections
from xdask_pipelines.placement.dask_internals.scheduling import is_leaving
from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.placement.worker.introduction import introduction_in

#: Bytes that are sent and sent back to find the rate of one flow.
_PAYLOAD = 2_000_000
_TIMES = 5
#: As long as a run waits before it calls a road blocked, or less.
_SECONDS = 10.0
#: A worker that ends while roads are measured looks like a blocked road: then all are measured again.
_LOOKS = 3


@dataclass(frozen=True)
class Road:
    """One direction between two Regions.

    Attributes
    ----------
    src, dst
        Regions; the client's Region stands for the scheduler.
    ports
        Ports of ``dst`` that must be open.
    rtt_seconds, bytes_per_second
        Shortest round-trip time, which busy workers prolong least, and rate of one flow; 0 if there is no connection.
    problem
        Why there is no connection; empty if there is one.
    """

    src: str
    dst: str
    ports: str
    rtt_seconds: float = 0.0
    bytes_per_second: float = 0.0
    problem: str = ""


def clock_skews(client: Client) -> dict[str, float]:
    """Return by how many seconds the clocks of the Regions' machines are ahead of the scheduler's, at their last heartbeats.

    The time that a heartbeat takes counts as behind, so that of the workers of a machine the one furthest ahead counts: a
    busy worker sends its heartbeats seconds late.
    """
    found: dict[str, float] = client.run_on_scheduler(_clock_skews)
    return found


def _clock_skews(dask_scheduler: Scheduler) -> dict[str, float]:
    machines: dict[tuple[str, str], float] = {}
    for worker in dask_scheduler.workers.values():
        if (region := pool_of(worker)) is not None:
            machine = region, worker.host
            machines[machine] = max(machines.get(machine, -inf), -worker.time_delay)
    skews: dict[str, float] = {}
    for (region, _), skew in machines.items():
        skews[region] = max(skews.get(region, 0.0), skew, key=abs)
    return skews


def measure_roads(client: Client, client_region: str) -> list[Road]:
    """Measure the road from every pool to every other pool, and between each and the scheduler.

    Parameters
    ----------
    client
        Connected to a scheduler that places tasks.
    client_region
        Region of the scheduler.

    Returns
    -------
    One road for each ordered pair of pools that have workers, by Region, and both directions between ``client_region`` and
    each pool. Left out are roads from a pool that the scheduler does not reach, because it cannot be asked, and all roads of
    a pool whose workers leave one after the other while they are measured.
    """
    roads: list[Road] = []
    ends = client.run_on_scheduler(_ends, {}, client_region)
    for _ in range(_LOOKS):
        roads = _measure(client, client_region, ends)
        before, ends = ends, client.run_on_scheduler(_ends, ends, client_region)
        gone = {region for region, address in before.items() if ends.get(region) != address}
        if not gone or not any(road.problem for road in roads):
            return roads
    return [road for road in roads if not {road.src, road.dst} & gone]


def _ends(before: Mapping[str, str], client_region: str, dask_scheduler: Scheduler) -> dict[str, str]:
    """Return the address of one worker of each other Region: the one before if it stays, none that drains."""
    found: dict[str, str] = {}
    for address, worker in sorted(dask_scheduler.workers.items()):
        region = pool_of(worker)
        if region in (None, client_region) or is_leaving(worker):
            continue
        if region not in found or address == before.get(region):
            found[region] = address
    return found


def _measure(client: Client, client_region: str, ends: Mapping[str, str]) -> list[Road]:
    found = client.run_on_scheduler(_measure_from_scheduler, ends)
    roads = [Road(client_region, region, **found[region]) for region in sorted(found)]
    reached = {road.dst: ends[road.dst] for road in roads if not road.problem}
    ports = {road.dst: road.ports for road in roads}
    scheduler: Any = client.scheduler
    targets = {**ends, client_region: scheduler.address}
    ports[client_region] = scheduler.address.rpartition(":")[2]
    answers = client.run(_measure_from, targets, workers=list(reached.values()), on_error="return") if reached else {}
    for src, address in reached.items():
        figures = answers.get(address)
        for dst in sorted(targets.keys() - {src}):
            found = figures[dst] if isinstance(figures, dict) else {"problem": f"the worker did not answer: {figures}"}
            roads.append(Road(src, dst, ports[dst], **found))
    return roads


async def _measure_from_scheduler(ends: Mapping[str, str], dask_scheduler: Scheduler) -> dict[str, dict[str, Any]]:
    found = {}
    for region, address in ends.items():
        worker = dask_scheduler.workers.get(address)
        ports = ((introduction_in(worker.extra) if worker else None) or {}).get("ports") or address.rpartition(":")[2]
        found[region] = {"ports": ports, **await _measured(dask_scheduler, address)}
    return found


async def _measure_from(targets: Mapping[str, str], dask_worker: Worker) -> dict[str, dict[str, Any]]:
    """Measure on a worker, one road after the other, so that flows do not share the line."""
    others = {region: address for region, address in targets.items() if address != dask_worker.address}
    return {region: await _measured(dask_worker, address) for region, address in others.items()}


async def _measured(server: Scheduler | Worker, address: str) -> dict[str, Any]:
    # Connections that exist already pass a firewall that admits no new one, and would be taken for the measurement.
    if not await takes_connections(address, _SECONDS):
        return {"problem": f"no new connection within {_SECONDS:g} s"}
    try:
        async with asyncio.timeout(_SECONDS):
            await round_trip(server, address, b"", _SECONDS)  # connects
            rtt = min([await round_trip(server, address, b"", _SECONDS) for _ in range(_TIMES)])
            seconds = await round_trip(server, address, bytes(_PAYLOAD), _SECONDS)
    except (OSError, TimeoutError) as error:
        return {"problem": str(error) or f"no connection within {_SECONDS:g} s"}
    return {"rtt_seconds": rtt, "bytes_per_second": 2 * _PAYLOAD / max(seconds - rtt, 1e-6)}
