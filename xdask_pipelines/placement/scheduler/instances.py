"""Instances of pools: the workers that were started as one, and end as one.

Belongs here: finding them among the workers. Does not belong here: how many there should be (scaling), draining them
(draining).
"""

from __future__ import annotations

from math import inf
from time import time
from typing import Any

from distributed import Scheduler

from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.placement.worker.introduction import introduction_in


def instances(scheduler: Scheduler) -> dict[str, dict[str, Any]]:
    """Return the instances of all pools by name.

    Returns
    -------
    ``region``; ``workers``, their addresses; ``draining``, whether any of them is; ``held_bytes`` of results; ``tasks`` that
    wait or run on them; ``threads`` and ``memory_bytes`` of all its workers; ``ports``, if they are fixed;
    ``silent_seconds``, since the last heartbeat of any of them.
    """
    found: dict[str, dict[str, Any]] = {}
    for address, worker in scheduler.workers.items():
        about = introduction_in(worker.extra)
        if about is None or (region := pool_of(worker)) is None:
            continue
        one = found.setdefault(
            about["instance"] or address,
            {
                "region": region,
                "workers": [],
                "draining": False,
                "held_bytes": 0,
                "tasks": 0,
                "threads": 0,
                "memory_bytes": 0,
                "ports": about["ports"],
                "silent_seconds": inf,
            },
        )
        one["workers"].append(address)
        one["draining"] |= worker not in scheduler.running
        one["held_bytes"] += worker.nbytes
        one["tasks"] += len(worker.processing)
        one["threads"] += worker.nthreads
        one["memory_bytes"] += worker.memory_limit
        one["silent_seconds"] = min(one["silent_seconds"], max(0.0, time() - worker.last_seen))
    return found
