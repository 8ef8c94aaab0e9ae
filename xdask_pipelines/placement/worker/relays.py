"""Relays: a worker passes a result of another Region on to other workers of its pool, which wait for its arrival.

Belongs here: letting them wait. Does not belong here: which worker fetches which result (scheduler.crossings).
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Collection
from time import monotonic

from dask.typing import Key
from distributed import Worker

from xdask_pipelines.placement.dask_internals.transfers import give_after, whereabouts

#: Interval of checks, and timeouts for a result that is on its way and for one that this worker has not been asked to
#: fetch. The latter exists because the scheduler's message crosses a WAN, and another worker's request does not.
_PAUSE_SECONDS, _COMING_SECONDS, _UNTOLD_SECONDS = 0.005, 600.0, 2.0


def relay(worker: Worker) -> None:
    """Let other workers wait for results that a worker is fetching."""

    async def until_here(keys: Collection[Key]) -> None:
        began = monotonic()
        for key in keys:
            while (place := whereabouts(worker, key)) != "here":
                if monotonic() - began > (_COMING_SECONDS if place == "coming" else _UNTOLD_SECONDS):
                    break  # the other worker gets a "not found", and asks the scheduler for a holder
                await sleep(_PAUSE_SECONDS)

    give_after(worker, until_here)
