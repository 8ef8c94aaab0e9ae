"""Preload module of nannies: workers that are asked to end hand over what they hold to their pool first.

Belongs here: waiting for the scheduler to drain an instance, within a time limit. Does not belong here: how it drains
(draining).
"""

from __future__ import annotations

import asyncio
import logging
import os

from distributed import Nanny

from xdask_pipelines.placement.dask_internals.ending import ask_scheduler, before_signals_end
from xdask_pipelines.placement.launch.logs import log_beside_dask
from xdask_pipelines.placement.launch.worker_command import DRAIN_VARIABLE
from xdask_pipelines.topology.names import POOL_PREFIX

logger = logging.getLogger("xdask.placement")
#: All nannies of this process: an instance is drained as a whole, so that no process hands over to another that ends too.
_nannies: list[Nanny] = []
_drained: asyncio.Task[None] | None = None


def dask_setup(nanny: Nanny) -> None:
    """Let a signal that ends this process drain its workers first."""
    log_beside_dask()
    _nannies.append(nanny)
    before_signals_end(nanny, _drain_once)


async def _drain_once() -> None:
    global _drained
    if _drained is None:
        _drained = asyncio.create_task(_drain(float(os.environ[DRAIN_VARIABLE])))
    await asyncio.shield(_drained)


async def _drain(seconds: float) -> None:
    nanny = _nannies[0]
    region = next(name.removeprefix(POOL_PREFIX) for name in nanny.resources if name.startswith(POOL_PREFIX))
    workers = [address for each in _nannies if (address := each.worker_address)]
    logger.info("draining %s in the pool of %s, for at most %g s", ", ".join(workers), region, seconds)
    try:
        answer = await asyncio.wait_for(
            ask_scheduler(nanny, "drain", region=region, workers=workers, close=False), seconds
        )
    except TimeoutError:
        logger.warning("not drained within %g s: what the workers held is computed again", seconds)
    except OSError as error:
        logger.warning("not drained, for the scheduler does not answer: %s", error)
    else:
        logger.info("%s", answer.get("refused") or "drained")
