"""Setup of a scheduler when it starts: the plugin, the page of Regions, access to the dashboard.

Belongs here: the order of these steps. Does not belong here: the steps themselves.
"""

from __future__ import annotations

from time import monotonic

import psutil
from distributed import Scheduler
from tornado.ioloop import PeriodicCallback

from xdask_pipelines.placement.dashboard.dashboard_access import guard_dashboard
from xdask_pipelines.placement.dask_internals.http_server import has_dashboard
from xdask_pipelines.placement.dask_internals.startup_checks import check_scheduler
from xdask_pipelines.placement.protection.worker_liveness import give_up_frozen, seldom_heartbeats
from xdask_pipelines.placement.scheduler.plugin import PlacementPlugin
from xdask_pipelines.placement.settings import Settings

_LOOK_MILLISECONDS = 1000.0


async def set_up_scheduler(server: Scheduler) -> None:
    """Install placement on a scheduler, with settings from the environment.

    Raises
    ------
    PlacementError
        If this release of Dask lacks a function that placement needs.
    """
    check_scheduler(server)
    settings = Settings.from_environment()
    plugin = PlacementPlugin(settings)
    server.add_plugin(plugin)
    await plugin.start(server)
    seldom_heartbeats()
    give_up_frozen(server, settings.worker_ttl_seconds)
    guard_dashboard(server)
    if has_dashboard(server):
        from xdask_pipelines.placement.dashboard.regions_page import add_page  # imports Bokeh

        add_page(server, plugin)
    if settings.owner is not None:
        server.periodic_callbacks["owner"] = _end_with(settings.owner, server)
        server.start_periodic_callbacks()
    if settings.idle_seconds is not None:
        server.periodic_callbacks["idle"] = _end_without_clients(settings.idle_seconds, server)
        server.start_periodic_callbacks()


def _end_without_clients(seconds: float, server: Scheduler) -> PeriodicCallback:
    """Return a callback that closes the scheduler, and so its workers, when it had no client for some time.

    Dask's own idle timeout counts tasks: it would end a scheduler whose client works by itself for a while.
    """
    last = monotonic()

    async def look() -> None:
        nonlocal last
        if set(server.clients) - {"fire-and-forget"}:
            last = monotonic()
        elif monotonic() - last > seconds:
            await server.close(reason=f"no client was connected for {seconds:g} s")

    return PeriodicCallback(look, _LOOK_MILLISECONDS)


def _end_with(owner: int, server: Scheduler) -> PeriodicCallback:
    """Return a callback that closes the scheduler, and so its workers, when the process ``owner`` has ended."""
    started = psutil.Process(owner).create_time()

    async def look() -> None:
        try:
            if psutil.Process(owner).create_time() == started:
                return
        except psutil.NoSuchProcess:
            pass
        await server.close(reason="the process that started it has ended")

    return PeriodicCallback(look, _LOOK_MILLISECONDS)
