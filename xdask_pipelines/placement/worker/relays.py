"""A worker gives its mates what it is itself still getting from another Region.

Belongs here: letting them wait for it. Does not belong here: who gets what for whom (scheduler.crossings).
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Collection
from time import monotonic

from dask.typing import Key
from distributed import Worker

from xdask_pipelines.placement.dask_internals.transfers import give_after, whereabouts

#: How often it is looked for; how long one waits for what is on its way, and for what this worker was not told of yet:
#: the word of the scheduler crosses a WAN, the request of a mate does not.
_PAUSE_SECONDS, _COMING_SECONDS, _UNTOLD_SECONDS = 0.005, 600.0, 2.0


def relay(worker: Worker) -> None:
    """Let mates of a worker wait for what it is getting."""

    async def until_here(keys: Collection[Key]) -> None:
        began = monotonic()
        for key in keys:
            while (place := whereabouts(worker, key)) != "here":
                if monotonic() - began > (_COMING_SECONDS if place == "coming" else _UNTOLD_SECONDS):
                    break  # the asker is told that it is not here, and asks the scheduler who has it
                await sleep(_PAUSE_SECONDS)

    give_after(worker, until_here)
