"""Workers that cannot connect to each other: tasks that wait for such a transfer fail with an error that names the ports.

Belongs here: telling a blocked road from an outage and from a worker that died. Does not belong here: how workers find out
(unreachable), results that the scheduler itself fetches (blocked_fetches).

Dask (2026.8.0) tries for ever: a worker asks again every second for a result that it cannot fetch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic, time

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.scheduler_requests import hear
from xdask_pipelines.placement.dask_internals.scheduling import fail
from xdask_pipelines.placement.dask_internals.task_states import TaskState, WorkerState
from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.placement.worker.introduction import introduction_in

#: A road is blocked after this time and so many reports, while both workers send heartbeats: an outage silences them too.
BLOCKED_SECONDS, REPORTS = 5.0, 2
#: A thousand workers send heartbeats every six seconds.
_SILENT_SECONDS = 8.0
#: While a worker waits, its reports are about 3 s apart; without new ones the old ones do not count.
_STALE_SECONDS = 15.0
#: Stands for the scheduler where others have an address.
SCHEDULER = "scheduler"


@dataclass
class _Reports:
    first: float
    last: float
    count: int = 1


class BlockedRoads:
    """Fails tasks whose worker cannot connect to any worker that has what they need."""

    def __init__(self) -> None:
        self._reports: dict[tuple[str, str], _Reports] = {}
        self._waiting: dict[tuple[str, Key], float] = {}

    def start(self, scheduler: Scheduler) -> None:
        """Hear the reports of workers."""
        hear(scheduler, "unreachable", self.note)
        hear(scheduler, "reachable", self.forget)

    def note(self, peer: str, worker: str) -> None:
        """Note that a worker, or `SCHEDULER`, got no connection to the address of a peer."""
        now = monotonic()
        if known := self._reports.get((worker, peer)):
            known.last, known.count = now, known.count + 1
        else:
            self._reports[worker, peer] = _Reports(now, now)

    def forget(self, peer: str, worker: str) -> None:
        """Note that it got one."""
        self._reports.pop((worker, peer), None)

    def blocked(self) -> set[tuple[str, str]]:
        """Return addresses of workers, or `SCHEDULER`, each with that of a peer to which it cannot connect."""
        return {
            pair
            for pair, reports in self._reports.items()
            if reports.count >= REPORTS and reports.last - reports.first >= BLOCKED_SECONDS
        }

    def look(self, scheduler: Scheduler) -> None:
        """Fail tasks that wait for a blocked road. The plugin calls this twice a second."""
        now = monotonic()
        self._reports = {
            pair: reports
            for pair, reports in self._reports.items()
            if now - reports.last < _STALE_SECONDS
            and not any(_silent(scheduler.workers.get(end)) for end in pair if end != SCHEDULER)
        }
        reported, blocked = set(self._reports), self.blocked()
        waiting: dict[tuple[str, Key], float] = {}
        for src in {src for src, _ in reported} - {SCHEDULER}:
            worker = scheduler.workers[src]
            for ts in list(worker.processing):
                if only_behind(ts.dependencies, src, reported):
                    since = waiting[src, ts.key] = self._waiting.get((src, ts.key), now)
                    # Reports from before the task may be of a road that is open again.
                    fresh = {pair for pair in blocked if self._reports[pair].last >= since}
                    if peer := only_behind(ts.dependencies, src, fresh):
                        fail(scheduler, ts, PlacementError(_message(worker, peer)))
        self._waiting = waiting


def only_behind(needed: Iterable[TaskState], src: str, blocked: set[tuple[str, str]]) -> WorkerState | None:
    """Return a worker that holds one of the results, if no worker that holds this result can be reached from ``src``."""
    for ts in needed:
        holders = ts.who_has or set()
        if holders and all((src, ws.address) in blocked for ws in holders):
            return next(iter(holders))
    return None


def region_and_ports(worker: WorkerState) -> tuple[str, str]:
    """Return the Region of a worker, and the ports by which others connect to it, in words."""
    ports = (introduction_in(worker.extra) or {}).get("ports") or worker.address.rpartition(":")[2]
    return pool_of(worker) or worker.address, f"port{'s' if '-' in ports else ''} {ports}"


def _silent(worker: WorkerState | None) -> bool:
    """Whether a worker has left, or sends no heartbeats: reports about it count from when it is back."""
    return worker is None or time() - worker.last_seen > _SILENT_SECONDS


def _message(worker: WorkerState, peer: WorkerState) -> str:
    src, _ = region_and_ports(worker)
    dst, ports = region_and_ports(peer)
    return (
        f"{src} cannot connect to {dst}, {ports}: the worker at {worker.address} got no connection to {peer.address}, "
        f"although both answer the scheduler. Open these ports in {dst} for {src}, or results cannot cross. "
        "`xdask doctor` checks all pairs of Regions."
    )
