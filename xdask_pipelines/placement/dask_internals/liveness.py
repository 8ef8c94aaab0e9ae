"""Signs of life of workers.

Belongs here: how often they are given and looked for. Does not belong here: how long a worker may be silent
(worker_liveness).
"""

from __future__ import annotations

import distributed.scheduler
from distributed import Scheduler
from distributed.scheduler import heartbeat_interval
from tornado.ioloop import PeriodicCallback


def give_seldom(seconds: float) -> None:
    """Let workers of this process's schedulers say no more often that they live, however few they are."""
    distributed.scheduler.heartbeat_interval = lambda n: max(seconds, heartbeat_interval(n))


def restart_silent(scheduler: Scheduler, seconds: float, looks: int) -> None:
    """Restart workers that have been silent for so long; they are looked for so many times meanwhile."""
    if before := scheduler.periodic_callbacks.pop("worker-ttl", None):
        before.stop()
    scheduler.worker_ttl = seconds
    look = PeriodicCallback(scheduler.check_worker_ttl, 1_000 * seconds / looks)
    scheduler.periodic_callbacks["worker-ttl"] = look
    look.start()
