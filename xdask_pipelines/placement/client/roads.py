"""Roads between Regions: which workers reach which, how far apart they are, and how fast one flow is.

Belongs here: measuring between the workers that are there. Does not belong here: conclusions (doctor), roads that
block a run (blocked_roads).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import time
from typing import Any

from distributed import Client, Worker

from xdask_pipelines.placement.dask_internals.connections import round_trip
from xdask_pipelines.placement.scheduler.backlog import region_of_resources
from xdask_pipelines.placement.worker.introduction import introduction

#: Bytes that are sent and sent back to find the rate of one flow.
_PAYLOAD = 2_000_000
_TIMES = 5
#: As long as a run waits before it calls a road blocked, or less.
_SECONDS = 10.0


@dataclass(frozen=True)
class Road:
    """One direction between two Regions.

    Attributes
    ----------
    src, dst
        Regions; ``dst`` is the client's Region for the road to the scheduler.
    ports
        Ports of ``dst`` that must be open.
    rtt_seconds, bytes_per_second
        Median round-trip time, and rate of one flow; 0 if there is no connection.
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
    """Return by how many seconds the clocks of the Regions' workers are ahead of this machine's, up to half a round trip."""
    before = time()
    clocks = client.run(time, on_error="ignore")
    now = (before + time()) / 2
    skews: dict[str, float] = {}
    for address, about in client.scheduler_info(n_workers=-1)["workers"].items():
        region = region_of_resources(about["resources"])
        if region is not None and address in clocks:
            skews[region] = max(skews.get(region, 0.0), clocks[address] - now, key=abs)
    return skews


def measure_roads(client: Client, client_region: str) -> list[Road]:
    """Measure the road from every pool to every other pool, and to the scheduler.

    Parameters
    ----------
    client
        Connected to a scheduler that places tasks.
    client_region
        Region of the scheduler.

    Returns
    -------
    One road for each ordered pair of pools that have workers, by Region, and one from each pool to ``client_region``.
    """
    ends: dict[str, str] = {}
    for address, about in sorted(client.scheduler_info(n_workers=-1)["workers"].items()):
        if (region := region_of_resources(about["resources"])) is not None:
            ends.setdefault(region, address)
    scheduler: Any = client.scheduler
    targets = {**ends, client_region: scheduler.address}
    answers = client.run(_measure_from, targets, workers=list(ends.values()), on_error="return")
    found = {src: answers.get(address) for src, address in ends.items()}
    ports = {dst: _port(address) for dst, address in targets.items()}
    ports |= {src: answer["ports"] for src, answer in found.items() if isinstance(answer, dict) and answer["ports"]}
    return [
        Road(src, dst, ports[dst], **_figures(answer, dst))
        for src, answer in sorted(found.items())
        for dst in sorted(targets)
        if dst != src
    ]


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _figures(answer: Any, dst: str) -> dict[str, Any]:
    if isinstance(answer, dict):
        return dict(answer["roads"][dst])
    return {"problem": f"the worker did not answer: {answer}"}


async def _measure_from(targets: Mapping[str, str], dask_worker: Worker) -> dict[str, Any]:
    """Measure on a worker, one road after the other, so that flows do not share the line."""
    others = {region: address for region, address in targets.items() if address != dask_worker.address}
    roads = {region: await _measured(dask_worker, address) for region, address in others.items()}
    return {"ports": introduction()["ports"], "roads": roads}


async def _measured(worker: Worker, address: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_SECONDS):
            await round_trip(worker, address, b"", _SECONDS)  # connects
            rtt = median([await round_trip(worker, address, b"", _SECONDS) for _ in range(_TIMES)])
            seconds = await round_trip(worker, address, bytes(_PAYLOAD), _SECONDS)
    except (OSError, TimeoutError) as error:
        return {"problem": str(error) or f"no connection within {_SECONDS:g} s"}
    return {"rtt_seconds": rtt, "bytes_per_second": 2 * _PAYLOAD / max(seconds - rtt, 1e-6)}
