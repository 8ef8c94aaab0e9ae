"""Preload module of schedulers and workers: installs the plugin, the dashboard's page and its check, or the guard.

Belongs here: reading the settings that a launcher put into the environment. Does not belong here: launching.
"""

from __future__ import annotations

import logging

import psutil
from distributed import Nanny, Scheduler, Worker
from tornado.ioloop import PeriodicCallback

from xdask_pipelines.placement.dashboard.dashboard_access import guard_dashboard
from xdask_pipelines.placement.dask_internals.http_server import has_dashboard
from xdask_pipelines.placement.dask_internals.startup_checks import check_scheduler, check_worker
from xdask_pipelines.placement.protection.survival import survive
from xdask_pipelines.placement.protection.worker_liveness import give_up_frozen, seldom_heartbeats
from xdask_pipelines.placement.scheduler.plugin import PlacementPlugin
from xdask_pipelines.placement.scheduler.result_delivery import Deliver
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.placement.worker.arrivals import expect_arrivals
from xdask_pipelines.placement.worker.guard import guarded_roots, install
from xdask_pipelines.placement.worker.introduction import introduce
from xdask_pipelines.placement.worker.relays import relay
from xdask_pipelines.placement.worker.transfer_reports import report_transfers

logger = logging.getLogger("xdask.placement")
_LOOK_MILLISECONDS = 1000.0


async def dask_setup(server: Scheduler | Worker | Nanny) -> None:
    """Called by Dask when the process starts; ends the process if it fails, where Dask would go on without."""
    try:
        await _set_up(server)
    except Exception as error:
        logger.exception("placement cannot be installed")
        raise SystemExit(f"placement cannot be installed: {error!r}") from error


async def _set_up(server: Scheduler | Worker | Nanny) -> None:
    if isinstance(server, Scheduler):
        check_scheduler(server)
        settings = Settings.from_environment()
        plugin = PlacementPlugin(settings)
        server.add_plugin(plugin)
        await plugin.start(server)
        seldom_heartbeats()
        give_up_frozen(server, settings.worker_ttl_seconds)
        guard_dashboard(server)
        if has_dashboard(server):
            from xdask_pipelines.placement.dashboard.regions_page import (
                add_page,  # imports Bokeh, which workers do without
            )

            add_page(server, plugin)
        if settings.owner is not None:
            server.periodic_callbacks["owner"] = _end_with(settings.owner, server)
            server.start_periodic_callbacks()
    elif isinstance(server, Worker):
        check_worker(server)
        report_transfers(server)
        expect_arrivals(server)
        relay(server)
        await server.plugin_add(Deliver())
        install(server, guarded_roots())
        introduce(server)
        survive(server)


def _end_with(owner: int, server: Scheduler) -> PeriodicCallback:
    """Closes the scheduler, which ends its workers, once a process is gone."""
    started = psutil.Process(owner).create_time()

    async def look() -> None:
        try:
            if psutil.Process(owner).create_time() == started:
                return
        except psutil.NoSuchProcess:
            pass
        await server.close(reason="its owner is gone")

    return PeriodicCallback(look, _LOOK_MILLISECONDS)
