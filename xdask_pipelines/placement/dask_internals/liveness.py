"""Heartbeats of workers.

Belongs here: the intervals of heartbeats and of their checks. Does not belong here: the timeout (worker_liveness).
"""

from __future__ import annotations

import distributed.scheduler
from distributed import Scheduler
from distributed.scheduler import heartbeat_interval
from tornado.ioloop import PeriodicCallback


def give_seldom(seconds: float) -> None:
    """Set the shortest interval of heartbeats of workers of this process's schedulers."""
    distributed.scheduler.heartbeat_interval = lambda n: max(seconds, heartbeat_interval(n))


def restart_silent(scheduler: Scheduler, seconds: float, looks: int) -> None:
    """Restart workers without a heartbeat for ``seconds``, with ``looks`` checks in that time."""
    if before := scheduler.periodic_callbacks.pop("worker-ttl", None):
        before.stop()
    scheduler.worker_ttl = seconds
    look = PeriodicCallback(scheduler.check_worker_ttl, 1_000 * seconds / looks)
    scheduler.periodic_callbacks["worker-ttl"] = look
    look.start()
