"""Workers that say nothing any more: a scheduler gives them up in time.

Belongs here: how often a worker says that it lives, and how long it may be silent. Does not belong here: workers whose
process ended (Dask sees that at once, and their nanny starts another).
"""

from __future__ import annotations

import distributed.scheduler
from distributed import Scheduler
from distributed.scheduler import heartbeat_interval
from tornado.ioloop import PeriodicCallback

_LOOKS = 10
#: Dask's few workers speak twice a second: over a WAN, 2 kB/s each, which cross Regions day and night.
_HEARTBEAT_SECONDS = 5.0


def seldom_heartbeats() -> None:
    """Let workers of this process's scheduler say less often that they live, however few they are."""
    distributed.scheduler.heartbeat_interval = lambda n: max(_HEARTBEAT_SECONDS, heartbeat_interval(n))


def give_up_frozen(scheduler: Scheduler, seconds: float) -> None:
    """Restart workers that have been silent for so long; their nanny kills them, their tasks go elsewhere in the pool.

    Dask looks only once in that time, so that it takes up to twice as long: here it looks ten times.
    """
    if before := scheduler.periodic_callbacks.pop("worker-ttl", None):
        before.stop()
    scheduler.worker_ttl = seconds
    look = PeriodicCallback(scheduler.check_worker_ttl, 1_000 * seconds / _LOOKS)
    scheduler.periodic_callbacks["worker-ttl"] = look
    look.start()
