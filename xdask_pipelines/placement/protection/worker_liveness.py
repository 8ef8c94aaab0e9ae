"""Workers that say nothing any more: a scheduler gives them up in time.

Belongs here: how often a worker says that it lives, and how long it may be silent. Does not belong here: workers whose
process ended (Dask sees that at once, and their nanny starts another).
"""

from __future__ import annotations

from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.liveness import give_seldom, restart_silent

#: Dask looks once in the time that a worker may be silent, so that it takes up to twice as long.
_LOOKS = 10
#: Dask's few workers speak twice a second: over a WAN, 2 kB/s each, which cross Regions day and night.
_HEARTBEAT_SECONDS = 5.0


def seldom_heartbeats() -> None:
    """Let workers of this process's scheduler say less often that they live, however few they are."""
    give_seldom(_HEARTBEAT_SECONDS)


def give_up_frozen(scheduler: Scheduler, seconds: float) -> None:
    """Restart workers that have been silent for so long; their nanny kills them, their tasks go elsewhere in the pool."""
    restart_silent(scheduler, seconds, _LOOKS)
