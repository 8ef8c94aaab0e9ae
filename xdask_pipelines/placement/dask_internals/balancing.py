"""Spreading tasks over workers, at a cost that does not grow with the workers.

Belongs here: work stealing within groups of workers, and choosing the worker of a task. Does not belong here: which group
may run a task (plugin).

Dask (2026.8.0) assumes that any worker may run most tasks. Ten times a second, it compares each task of a busy worker with
all idle workers, although none of them may take it: 5,000 tasks of one pool, next to an idle one, took 15 % of the
scheduler's time, and more with each worker and each task. For each restricted task, it also compares all workers that may
run it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any

from distributed import Scheduler
from distributed.scheduler import TaskState, WorkerState


def steal_within(scheduler: Scheduler, group_of: Callable[[WorkerState], Hashable]) -> None:
    """Let workers steal tasks only from workers of their own group."""
    stealing = scheduler.extensions["stealing"]
    balance_all = stealing.balance

    def balance() -> None:
        groups: defaultdict[Hashable, list[WorkerState]] = defaultdict(list)
        for ws in scheduler.workers.values():
            groups[group_of(ws)].append(ws)
        try:
            for members in groups.values():
                stealing.scheduler = _Group(scheduler, members)
                balance_all()
        finally:
            stealing.scheduler = scheduler

    stealing.balance = balance
    if already_started := scheduler.periodic_callbacks.get("stealing"):
        already_started.callback = balance


class _Group:
    """A scheduler as work stealing sees it, with some of its workers."""

    def __init__(self, scheduler: Scheduler, members: Iterable[WorkerState]) -> None:
        self._scheduler = scheduler
        self.workers = {ws.address: ws for ws in members}
        self.idle = {address: ws for address, ws in self.workers.items() if address in scheduler.idle}
        self.saturated = scheduler.saturated.intersection(members)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)


def choose_among(scheduler: Scheduler, limit: int) -> None:
    """Compare at most ``limit`` workers for a task that needs nothing but a resource, and none of which has its inputs.

    The compared workers change with each task. Workers that have inputs of a task are all compared, as in Dask.
    """
    decide = scheduler.decide_worker_non_rootish

    def decide_among_few(ts: TaskState) -> WorkerState | None:
        needed = ts.resource_restrictions or {}
        if len(needed) != 1 or ts.actor or ts.worker_restrictions or ts.host_restrictions:
            return decide(ts)
        ((resource, quantity),) = needed.items()
        offered = scheduler.resources.get(resource, {})
        if quantity or len(offered) <= limit:
            return decide(ts)
        holders = {ws for needed in ts.dependencies for ws in needed.who_has or () if resource in ws.resources}
        candidates = [ws for ws in holders or _some(scheduler, list(offered), limit) if ws in scheduler.running]
        return min(candidates, key=partial(scheduler.worker_objective, ts)) if candidates else decide(ts)

    scheduler.decide_worker_non_rootish = decide_among_few  # type: ignore[method-assign]


def _some(scheduler: Scheduler, addresses: list[str], limit: int) -> list[WorkerState]:
    start = scheduler.n_tasks % len(addresses)
    return [scheduler.workers[address] for address in (addresses[start:] + addresses[:start])[:limit]]
