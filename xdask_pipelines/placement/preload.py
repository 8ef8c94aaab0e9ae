"""Preload module of schedulers and workers: makes them place, or ends them.

Belongs here: which set-up a process gets. Does not belong here: the set-ups (scheduler_setup, worker_setup), launching.
"""

from __future__ import annotations

import logging

from distributed import Nanny, Scheduler, Worker

from xdask_pipelines.placement.launch.logs import log_beside_dask

logger = logging.getLogger("xdask.placement")


async def dask_setup(server: Scheduler | Worker | Nanny) -> None:
    """Set up a process that Dask has started; end the process if that fails, where Dask would go on without.

    Raises
    ------
    SystemExit
        The set-up failed.
    """
    log_beside_dask()
    try:
        if isinstance(server, Scheduler):
            from xdask_pipelines.placement.scheduler.scheduler_setup import set_up_scheduler

            await set_up_scheduler(server)
        elif isinstance(server, Worker):
            from xdask_pipelines.placement.worker.worker_setup import set_up_worker

            await set_up_worker(server)
    except Exception as error:
        logger.exception("placement cannot be installed")
        raise SystemExit(f"placement cannot be installed: {error!r}") from error
