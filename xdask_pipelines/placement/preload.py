"""Preload module of schedulers and workers: it installs placement, or ends the process.

Belongs here: choosing the setup for a process. Does not belong here: the setups (scheduler_setup, worker_setup),
starting processes (cluster).
"""

from __future__ import annotations

import logging

from distributed import Nanny, Scheduler, Worker

from xdask_pipelines.placement.launch.logs import log_beside_dask

logger = logging.getLogger("xdask.placement")


async def dask_setup(server: Scheduler | Worker | Nanny) -> None:
    """Install placement in a process of Dask, or end the process if that fails; Dask would continue without it.

    Raises
    ------
    SystemExit
        If the setup failed.
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
