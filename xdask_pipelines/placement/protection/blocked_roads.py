"""Workers that cannot connect to each other: tasks that wait for such a transfer fail with an error that names the ports.

Belongs here: telling a blocked road from an outage and from a worker that died. Does not belong here: how workers find out
(unreachable).

Dask (2026.8.0) tries for ever: a worker asks again every second for a result that it cannot fetch.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic, time

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
#: Reports end with the fetch: older ones count no more.
_STALE_SECONDS = 15.0


@dataclass
class _Reports:
    first: float
    last: float
    count: int = 1


class BlockedRoads:
    """Fails tasks whose worker cannot connect to any worker that has what they need."""

    def __init__(self) -> None:
        self._reports: dict[tuple[str, str], _Reports] = {}

    def start(self, scheduler: Scheduler) -> None:
        """Hear the reports of workers."""
        hear(scheduler, "unreachable", self._note)
        hear(scheduler, "reachable", self._forget)

    def _note(self, peer: str, worker: str) -> None:
        now = monotonic()
        if known := self._reports.get((worker, peer)):
            known.last, known.count = now, known.count + 1
        else:
            self._reports[worker, peer] = _Reports(now, now)

    def _forget(self, peer: str, worker: str) -> None:
        self._reports.pop((worker, peer), None)

    def blocked(self) -> set[tuple[str, str]]:
        """Return addresses of workers, each with that of a peer to which it cannot connect."""
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
            if now - reports.last < _STALE_SECONDS and not any(_silent(scheduler.workers.get(end)) for end in pair)
        }
        blocked = self.blocked()
        for src in {src for src, _ in blocked}:
            worker = scheduler.workers[src]
            for ts in list(worker.processing):
                if peer := _only_behind(ts, src, blocked):
                    fail(scheduler, ts, PlacementError(_message(worker, peer)))


def _only_behind(ts: TaskState, src: str, blocked: set[tuple[str, str]]) -> WorkerState | None:
    """Return a worker that holds what a task needs, if no worker that holds it can be reached."""
    for needed in ts.dependencies:
        holders = needed.who_has or set()
        if holders and all((src, ws.address) in blocked for ws in holders):
            return next(iter(holders))
    return None


def _silent(worker: WorkerState | None) -> bool:
    """Whether a worker has left, or sends no heartbeats: reports about it count from when it is back."""
    return worker is None or time() - worker.last_seen > _SILENT_SECONDS


def _message(worker: WorkerState, peer: WorkerState) -> str:
    src, dst = pool_of(worker) or worker.address, pool_of(peer) or peer.address
    ports = (introduction_in(peer.extra) or {}).get("ports") or peer.address.rpartition(":")[2]
    return (
        f"{src} cannot connect to {dst}, port{'s' if '-' in ports else ''} {ports}: the worker at {worker.address} got no "
        f"connection to {peer.address}, although both answer the scheduler. Open these ports in {dst} for {src}, or results "
        "cannot cross. `xdask doctor` checks all pairs of Regions."
    )
