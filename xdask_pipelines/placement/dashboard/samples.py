"""State of the pools, sampled once a second: the numbers behind the panels.

Belongs here: sampling workers and totals, and keeping the last minutes. Does not belong here: drawing (panels),
counting (totals).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from distributed import Scheduler

from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.placement.scheduler.totals import Totals

EVERY_SECONDS = 1.0
REMEMBERED_SECONDS = 300.0
#: Name of the dashboard's page that shows the samples.
PAGE = "regions"


@dataclass
class Load:
    """One pool at one moment.

    Attributes
    ----------
    workers, threads
        Worker processes, and threads in all of them.
    processing
        Tasks on workers: those that run, and those that wait there for a thread or for their inputs.
    running
        Those of them that have a thread.
    waiting
        Tasks on the scheduler that no worker of the pool could take.
    done
        Placed tasks that ran since the scheduler started.
    """

    workers: int = 0
    threads: int = 0
    processing: int = 0
    running: int = 0
    waiting: int = 0
    done: int = 0


@dataclass(frozen=True)
class Sample:
    """All pools at one moment of a monotonic clock."""

    seconds: float
    pools: Mapping[str, Load] = field(default_factory=dict)


def look(scheduler: Scheduler, totals: Totals, regions: Iterable[str] = ()) -> Sample:
    """Take one sample. Its cost grows with the number of workers, not of tasks.

    Parameters
    ----------
    scheduler
        Whose workers are looked at.
    totals
        Its totals.
    regions
        Those that are to be there even if they have nothing.
    """
    pools: defaultdict[str, Load] = defaultdict(Load)
    for worker in scheduler.workers.values():
        if (region := pool_of(worker)) is None:
            continue
        pool = pools[region]
        pool.workers += 1
        pool.threads += worker.nthreads
        pool.processing += len(worker.processing)
        pool.running += min(len(worker.processing), worker.nthreads)
    for region in {*regions, *totals.tasks, *(r for r, n in totals.waiting.items() if n)}:
        pools[region].waiting = totals.waiting[region]
        pools[region].done = totals.tasks[region]
    return Sample(monotonic(), dict(sorted(pools.items())))


class Samples:
    """The samples of the last minutes.

    Parameters
    ----------
    scheduler
        Whose workers are looked at.
    totals
        Its totals.
    regions
        Those that are to be there even if they have nothing.
    """

    def __init__(self, scheduler: Scheduler, totals: Totals, regions: Iterable[str] = ()) -> None:
        self._scheduler = scheduler
        self.totals = totals
        self._regions = tuple(regions)
        self.past: deque[Sample] = deque(maxlen=round(REMEMBERED_SECONDS / EVERY_SECONDS))

    def now(self) -> Sample:
        """Take a sample without keeping it."""
        return look(self._scheduler, self.totals, self._regions)

    def take(self) -> None:
        """Take a sample and keep it."""
        self.past.append(self.now())
