"""How full the disk is to which a worker spills, among the figures of its heartbeats.

Belongs here: that figure. Does not belong here: what is made of it (scheduler.backlog).
"""

from __future__ import annotations

import shutil

from distributed import Worker

SPILL_METRIC = "xdask_spill_disk_percent"


def report_spill_disk(worker: Worker) -> None:
    """Let a worker report the use of its spill disk with each heartbeat."""
    worker.metrics[SPILL_METRIC] = _percent


def _percent(worker: Worker) -> float:
    usage = shutil.disk_usage(worker.local_directory)
    return 100 * usage.used / usage.total
