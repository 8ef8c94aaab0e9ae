"""Tasks whose restrictions no worker meets: they fail with an error, while plain Dask would wait forever.

Belongs here: comparing a user's restrictions (``workers=``, ``resources=``) with the existing workers. Does not belong
here: pools without workers (empty_pools).
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.scheduling import fail, resume, without_worker
from xdask_pipelines.placement.dask_internals.task_states import TaskState, annotate, free_hosts, require, restrict
from xdask_pipelines.placement.protection.empty_pools import staffed
from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.topology.names import POOL_PREFIX, pool_name

#: Timeout for a suitable worker to join.
PATIENCE_SECONDS = 10.0
_SHOWN = 3
#: Dask's keywords that restrict where a task may run.
_KEYWORDS = frozenset({"workers", "restrictions", "resources"})


class Unsatisfiable:
    """Fails tasks that no worker may run, although their pool has workers."""

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        self.seconds = seconds
        self._since: dict[TaskState, float] = {}
        self._freed: list[Key] = []

    def free(self, ts: TaskState) -> None:
        """Drop the restrictions of a task that several submissions need.

        Tasks are shared by all clients that read the same data: the restrictions of one must not make the others wait
        or fail.
        """
        if ts.annotations and not _KEYWORDS.isdisjoint(ts.annotations):
            annotate(ts, {k: v for k, v in ts.annotations.items() if k not in _KEYWORDS})
            restrict(ts, None)
            free_hosts(ts)
            pools = {k: v for k, v in (ts.resource_restrictions or {}).items() if k.startswith(POOL_PREFIX)}
            require(ts, pools or None)
            self._freed.append(ts.key)

    def look(self, scheduler: Scheduler, pool_of_wait: Callable[[TaskState], str | None]) -> None:
        """Send tasks whose restrictions were dropped, and fail tasks that have waited too long.

        The plugin calls this twice a second.

        Parameters
        ----------
        scheduler
            The scheduler whose tasks are checked.
        pool_of_wait
            Returns the Region of the pool for which a task waits; None if it may run in any pool.
        """
        resume(scheduler, self._freed)
        self._freed.clear()
        there = staffed(scheduler)
        self._since = {
            ts: self._since.get(ts, monotonic())
            for ts in without_worker(scheduler)
            if _restricted(ts) and ((region := pool_of_wait(ts)) is None or pool_name(region) in there)
        }
        for ts, since in list(self._since.items()):
            if monotonic() - since >= self.seconds and not scheduler.valid_workers(ts):
                fail(scheduler, ts, PlacementError(_message(scheduler, ts, pool_of_wait(ts), self.seconds)))


def _restricted(ts: TaskState) -> bool:
    return bool(ts.worker_restrictions or ts.host_restrictions or ts.resource_restrictions)


def _message(scheduler: Scheduler, ts: TaskState, region: str | None, seconds: float) -> str:
    named = sorted({*(ts.worker_restrictions or ()), *(ts.host_restrictions or ())})
    demands = []
    if named:
        demands.append(f"workers={_listed([_with_pool(scheduler, name) for name in named])}")
    if other := {k: v for k, v in (ts.resource_restrictions or {}).items() if not k.startswith(POOL_PREFIX)}:
        demands.append(f"resources={other}")
    where = f"belongs in {region}" if region else "may run in any Region"
    pool = sorted(a for a, ws in scheduler.workers.items() if region is None or pool_of(ws) == region)
    return (
        f"Task {str(ts.key)!r} {where}, but no worker there meets {' and '.join(demands) or 'its restrictions'}; it "
        f"waited {seconds:.0f} s. Workers there: {_listed(pool)}. Leave out `workers` and `resources`: tasks run in the "
        "Region of their data without them."
    )


def _with_pool(scheduler: Scheduler, name: str) -> str:
    worker = scheduler.workers.get(name)
    return f"{name} (of {pool_of(worker) or 'no pool'})" if worker else name


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
