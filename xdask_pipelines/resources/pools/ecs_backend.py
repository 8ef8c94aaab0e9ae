"""Instances of pools that are tasks of an ECS service.

Belongs here: what a task's state on ECS and its workers on the scheduler mean together, and how the count of the service
follows actions. Does not belong here: calls of ECS (ecs_service), which actions there are (reconcile).

The service starts a task whenever it has fewer than its desired count, and ends any that is not protected whenever it has
more. To end a certain one, all others are protected, the count is lowered by one, and that task is stopped: at no moment
can the service choose another, and none replaces it. ECS has no conditional update, so each change reads the count
immediately before; what is read again next time decides, not what this process remembers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.resources.aws.ecs_service import EcsService
from xdask_pipelines.resources.pools.ecs_pools import EcsPools
from xdask_pipelines.resources.pools.pool_backends import PoolBackend
from xdask_pipelines.resources.pools.reconcile import Drain, Protect
from xdask_pipelines.resources.pools.standing_pools import Tell


class EcsBackend(PoolBackend):
    """Tasks of the pools' services. Workers of other tasks in the same pools, such as those of one run, are not its own."""

    def __init__(self, pools: EcsPools, tell: Tell) -> None:
        super().__init__(pools, tell)
        self._pools = pools
        self._sizes: dict[str, int] = {}
        #: Tasks of each Region that were observed last, without those that were stopped since.
        self._observed: dict[str, set[str]] = {}

    def sizes(self) -> dict[str, int]:
        """Return the desired count of each service, as it was last read or set."""
        return dict(self._sizes)

    # ---- observing ----------------------------------------------------------------------------------------------------

    def _started(self) -> dict[str, tuple[str, bool]]:
        found: dict[str, tuple[str, bool]] = {}
        for region in self._pools.topology.worker_regions:
            service = self._pools.service(region)
            self._sizes[region] = service.state().desired
            self._observed[region] = {task.task_id for task in service.tasks()}
            found |= {_name(region, task): (region, True) for task in self._observed[region]}
        return found

    def _names(self, joined: Iterable[str], started: Iterable[str]) -> set[str]:
        return set(started)

    def _state(self, name: str, about: dict[str, Any] | None, started: tuple[str, bool] | None) -> Any:
        if about is None:
            return (
                "starting"  # for as long as an instance may take; after the loss of a scheduler, until it joins again
            )
        if not about["draining"]:
            return "running"
        return "draining" if about["tasks"] or about["held_bytes"] else "drained"

    # ---- acting -------------------------------------------------------------------------------------------------------

    def _start(self, region: str, count: int) -> None:
        service = self._pools.service(region)
        wanted = len(self._observed.get(region, ())) + count  # not what there is now: another controller may be as far
        if wanted > service.state().desired:  # otherwise ECS is about to start them
            self._set(service, wanted)

    def _protect(self, action: Protect) -> None:
        service = self._pools.service(action.region)
        kept = {_task(action.region, name) for name in action.names}
        there = {task.task_id for task in service.tasks()}
        _refuse_unprotected(service, service.protect(sorted(kept & there)), there)
        service.protect(sorted(there - kept), on=False)

    def _drain(self, action: Drain, workers: list[str]) -> None:
        answer = self._rpc().begin_drain(action.region, workers)
        if "refused" in answer:
            raise PlacementError(answer["refused"])

    def _stop(self, name: str) -> None:
        region = next(r for r in self._pools.topology.worker_regions if name.startswith(f"{r}-"))
        service, leaving = self._pools.service(region), _task(region, name)
        self._observed.get(region, set()).discard(leaving)
        tasks = service.tasks()
        there = {task.task_id for task in tasks}
        if leaving not in there:
            return
        others = [task.task_id for task in tasks if task.task_id != leaving and task.status == "RUNNING"]
        service.protect([leaving], on=False)
        _refuse_unprotected(service, service.protect(others), there)
        desired = service.state().desired
        least = self._pools.topology.worker(region).pool.min_workers
        if len(tasks) <= desired and desired > least:  # fewer than there are tasks: it was lowered before
            self._set(service, desired - 1)
        service.stop(leaving, "Scaled in by the controller of xdask_pipelines")

    def _set(self, service: EcsService, count: int) -> None:
        service.set_desired(count)
        self._sizes[service.region] = count


def _name(region: str, task_id: str) -> str:
    """Return the name of an instance, as `xdask worker` gives it on ECS."""
    return f"{region}-{task_id}"


def _task(region: str, name: str) -> str:
    return name.removeprefix(f"{region}-")


def _refuse_unprotected(service: EcsService, refused: dict[str, str], there: set[str]) -> None:
    """Refuse to go on where ECS did not protect a task that stays; one that has ended meanwhile needs no protection."""
    if not refused:
        return
    now = {task.task_id for task in service.tasks()}
    reasons = sorted({reason for task, reason in refused.items() if task in now & there})
    if reasons:
        raise PlacementError(
            f"ECS does not protect tasks of {service.name} in {service.region} ({', '.join(reasons)}), so the pool is not "
            "made smaller now. It is tried again at the next look."
        )
