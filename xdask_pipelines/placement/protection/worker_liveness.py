"""Heartbeats of workers: a scheduler restarts workers without heartbeats.

Belongs here: the interval of heartbeats, and the timeout. Does not belong here: workers whose process has ended (Dask
notices at once, and their nanny starts another).
"""

from __future__ import annotations

from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.liveness import give_seldom, restart_silent

#: Checks per timeout. Dask checks only once per timeout, so that it may need up to twice as long.
_LOOKS = 10
#: In a small cluster, Dask's workers send two heartbeats a second: 2 kB/s each, which would always cross the WAN.
_HEARTBEAT_SECONDS = 5.0


def seldom_heartbeats() -> None:
    """Reduce the heartbeats of workers of this process's scheduler, however few workers it has."""
    give_seldom(_HEARTBEAT_SECONDS)


def give_up_frozen(scheduler: Scheduler, seconds: float) -> None:
    """Restart workers without a heartbeat for ``seconds``; their tasks run on other workers of the pool."""
    restart_silent(scheduler, seconds, _LOOKS)
