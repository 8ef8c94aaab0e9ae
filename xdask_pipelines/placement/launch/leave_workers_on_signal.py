"""Preload module of schedulers on machines of their own: workers wait for the next scheduler when this one is stopped.

Belongs here: that alone. Does not belong here: how the connections end (ending).
"""

from __future__ import annotations

from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.ending import leave_workers


def dask_setup(scheduler: Scheduler) -> None:
    """Let SIGTERM end this scheduler alone: its host may be restarted, or another one takes over."""
    leave_workers(scheduler)
