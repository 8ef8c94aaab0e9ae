"""Preload module of schedulers and workers: installs the plugin, or the guard.

Belongs here: reading the settings that a launcher put into the environment. Does not belong here: launching.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, field

import psutil
from distributed import Nanny, Scheduler, Worker
from tornado.ioloop import PeriodicCallback

from xdask_pipelines.placement.guard import guarded_roots, install
from xdask_pipelines.placement.plugin import EMPTY_POOL_SECONDS, PlacementPlugin
from xdask_pipelines.placement.reporting import report_transfers

logger = logging.getLogger("xdask.placement")
SETTINGS_VARIABLE = "XDASK_PLACEMENT"
_LOOK_MILLISECONDS = 1000.0


@dataclass(frozen=True)
class Settings:
    """What a scheduler must know of the topology.

    Attributes
    ----------
    client_region
        Region of the scheduler and its clients.
    prices
        Cost of one byte by ``"src->dst"``; pairs that are not named cost 1, and 0 within a Region.
    empty_pool_seconds
        How long tasks wait for a pool without workers before they fail.
    mend
        Command that starts the pools.
    owner
        Id of the process with which scheduler and pools end, however it ends; None if they stand by themselves.
    """

    client_region: str = "client"
    prices: dict[str, float] = field(default_factory=dict)
    empty_pool_seconds: float = EMPTY_POOL_SECONDS
    mend: str = "xdask pools up"
    owner: int | None = None

    def to_environment(self) -> dict[str, str]:
        """Environment of a scheduler process that is to use these settings."""
        return {SETTINGS_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> Settings:
        """Settings of this process, or the defaults."""
        return cls(**json.loads(os.environ.get(SETTINGS_VARIABLE, "{}")))

    def price(self, src: str, dst: str) -> float:
        """Cost of one byte from ``src`` to ``dst``."""
        return 0.0 if src == dst else self.prices.get(f"{src}->{dst}", 1.0)


async def dask_setup(server: Scheduler | Worker | Nanny) -> None:
    """Called by Dask when the process starts; ends the process if it fails, where Dask would go on without."""
    try:
        await _set_up(server)
    except Exception as error:
        logger.exception("placement cannot be installed")
        raise SystemExit(f"placement cannot be installed: {error!r}") from error


async def _set_up(server: Scheduler | Worker | Nanny) -> None:
    if isinstance(server, Scheduler):
        settings = Settings.from_environment()
        plugin = PlacementPlugin(settings.client_region, settings.price, settings.empty_pool_seconds, settings.mend)
        server.add_plugin(plugin)
        await plugin.start(server)
        if settings.owner is not None:
            server.periodic_callbacks["owner"] = _end_with(settings.owner, server)
            server.start_periodic_callbacks()
    elif isinstance(server, Worker):
        report_transfers(server)
        install(server, guarded_roots())


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
