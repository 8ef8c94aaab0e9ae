"""Waiting for pools that start from zero: what a computation reports meanwhile, and when it gives up.

Belongs here: progress of the start, and ECS's reasons against it. Does not belong here: starting instances
(pool_controller), the timeout of tasks (placement.protection.empty_pools).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic, time

from xdask_pipelines.errors import EmptyPool
from xdask_pipelines.placement.client.scheduler_rpc import RegionProgress
from xdask_pipelines.resources.aws.ecs_service import EcsService
from xdask_pipelines.system.units import counted

_LOOK_SECONDS, _REPORT_SECONDS = 5.0, 20.0
#: ECS tries again after a failure; its second message about the same pool is no coincidence.
_GIVE_UP_AFTER = 2


class StartingPools:
    """Watches a computation: reports Regions whose tasks wait for the first instance.

    Parameters
    ----------
    service_of
        Returns the service of a Region's pool.
    workers
        Returns the number of worker processes by Region.
    tell
        Gets a line such as "us-east-1: starting, 2 instances, for 40 s".
    """

    def __init__(
        self,
        service_of: Callable[[str], EcsService],
        workers: Callable[[], Mapping[str, int]],
        tell: Callable[[str], None],
    ) -> None:
        self._service_of, self._workers, self._tell = service_of, workers, tell
        self._since: dict[str, tuple[float, float]] = {}
        self._looked = float("-inf")
        self._reported: dict[str, tuple[float, str]] = {}

    def __call__(self, state: Mapping[str, RegionProgress]) -> None:
        """Look at Regions with unfinished tasks, every few seconds.

        Raises
        ------
        EmptyPool
            A pool has no instance, and ECS reports why it cannot start one.
        """
        if monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = monotonic()
        unfinished = [region for region, at in state.items() if at.done < at.planned]
        workers = self._workers() if unfinished else {}
        empty = [region for region in unfinished if not workers.get(region)]
        self._since = {region: self._since.get(region, (monotonic(), time())) for region in empty}
        for region, (began, at) in self._since.items():
            self._look(region, monotonic() - began, at)

    def _look(self, region: str, seconds: float, began_at: float) -> None:
        service = self._service_of(region)
        state, tasks = service.state(), service.tasks()
        failures = [event.message for event in state.events if event.failure and event.at >= began_at]
        failures += [task.reason for task in service.tasks(stopped=True) if task.reason and task.created >= began_at]
        if not tasks and len(failures) >= _GIVE_UP_AFTER:
            raise EmptyPool(
                f"The pool of {region} cannot start an instance. ECS reports: {failures[0].rstrip('.')}. Correct that "
                "(docs/deploy/aws.md lists causes), then run again.",
                region=region,
            )
        if tasks:
            line = f"{region}: starting, {counted(len(tasks), 'instance')}"
        elif state.desired:
            line = f"{region}: {counted(state.desired, 'instance')} wanted, none placed yet"
        else:
            line = f"{region}: at zero, waiting for the controller"
        reported_at, reported = self._reported.get(region, (float("-inf"), ""))
        if line != reported or monotonic() - reported_at >= _REPORT_SECONDS:
            self._reported[region] = (monotonic(), line)
            self._tell(f"{line}, for {seconds:.0f} s" + (f"; ECS reports: {failures[0]}" if failures else ""))
