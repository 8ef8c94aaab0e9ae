"""Sync executors: one ECS task a Region with a scheduler and workers of its own, which may write to its data.

Belongs here: running the task, waiting for it, computing in it, ending it. Does not belong here: the command in the task
(operations.start_executor).

It needs neither the standing scheduler nor a pool: a sync works with every pool at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from distributed import Client

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.errors import AwsError, EmptyPool, PlacementError
from xdask_pipelines.placement import Evidence, check_scheduler, compute
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.graph.homes import homes_of
from xdask_pipelines.placement.settings import SCALE_UP_SECONDS, Settings
from xdask_pipelines.resources.aws.ecs_service import EcsService, EcsTask
from xdask_pipelines.system.ports import in_address
from xdask_pipelines.topology.aws_names import SCHEDULER_PORT, sync_family

_LOOK_SECONDS, _REPORT_SECONDS, _CONNECT_SECONDS = 2.0, 20.0, 5.0
#: Between the start of the containers and the first worker.
_JOIN_SECONDS = 120.0
Tell = Callable[[str], None]


@dataclass
class _Executor:
    """The executor of one Region."""

    service: EcsService
    certificates: Path
    tell: Tell
    task: str = ""
    began: float = field(default_factory=monotonic)
    client: Client | None = None

    @property
    def region(self) -> str:
        return self.service.region

    def start(self, settings: Settings) -> None:
        self.task = self.service.run(sync_family(self.region), settings.to_environment(), "xdask-sync")
        self.tell(f"{self.region}: starting the sync executor, task {self.task.rpartition('/')[2]}")

    def connect(self) -> None:
        """Wait until the task has a scheduler with a worker, and connect to it.

        Raises
        ------
        EmptyPool
            The task ended, or does not answer in time; with ECS's reason.
        """
        reported = monotonic()
        while monotonic() - self.began < SCALE_UP_SECONDS + _JOIN_SECONDS:
            task = self._described()
            if task.ends:
                raise EmptyPool(
                    f"The sync executor of {self.region} ended before it answered. ECS reports: {task.reason or 'nothing'}. "
                    "Read its log in CloudWatch (/xdask/sync), then sync again.",
                    region=self.region,
                )
            if task.status == "RUNNING" and task.address and self._answers(task.address):
                self.tell(f"{self.region}: the sync executor runs, after {monotonic() - self.began:.0f} s")
                return
            if monotonic() - reported >= _REPORT_SECONDS:
                reported = monotonic()
                self.tell(f"{self.region}: sync executor {task.status.lower()}, for {monotonic() - self.began:.0f} s")
            sleep(_LOOK_SECONDS)
        raise EmptyPool(
            f"The sync executor of {self.region} does not answer after {monotonic() - self.began:.0f} s. Its state on ECS "
            f"is {self._described().status}. Check the capacity of {self.region} (spot, quotas), then sync again.",
            region=self.region,
        )

    def _described(self) -> EcsTask:
        found = self.service.describe([self.task])
        return found[0] if found else EcsTask(self.task, "STOPPED", True, 0.0, "", "the task does not exist any more")

    def _answers(self, address: str) -> bool:
        try:
            if self.client is None:
                scheduler = f"tls://{in_address(address)}:{SCHEDULER_PORT}"
                self.client = connect(scheduler, self.certificates, timeout=_CONNECT_SECONDS)
            return bool(check_scheduler(self.client)["pools"].get(self.region))
        except OSError:
            return False

    def stop(self) -> None:
        if self.client is not None:
            self.client.close()
        if self.task:
            with suppress(AwsError):  # it ends by itself when it has no client
                self.service.stop(self.task, "The sync has ended")


@contextmanager
def executors(services: Sequence[EcsService], certificates: Path, settings: Settings, tell: Tell) -> Iterator[Compute]:
    """Run an executor in each of some Regions for the duration of a ``with`` block.

    Parameters
    ----------
    services
        Of the pools of the Regions: cluster and network of the tasks are theirs.
    certificates
        Folder of TLS certificates.
    settings
        What schedulers must know of the topology.
    tell
        Gets a line for each step.

    Yields
    ------
    A function that computes lazy calls in the executor of their Region.

    Raises
    ------
    EmptyPool
        A task does not start.
    """
    with ExitStack() as stack:
        started: dict[str, _Executor] = {}
        for service in services:
            started[service.region] = executor = _Executor(service, certificates, tell)
            stack.callback(executor.stop)
            executor.start(_of_region(settings, service.region))
        for executor in started.values():
            executor.connect()
        yield lambda *xs: _dispatched(started, xs)


def _dispatched(started: Mapping[str, _Executor], xs: tuple[Any, ...]) -> tuple[tuple[Any, ...], Evidence]:
    homes = homes_of(*xs)
    if len(homes) > 1 or not homes <= started.keys():
        raise PlacementError(
            f"A sync executor computes in its own Region alone ({', '.join(started)}), and this is of "
            f"{', '.join(sorted(homes))}. Compute each Region by itself."
        )
    client = started[next(iter(homes or started))].client
    assert client is not None
    return compute(client, *xs)


def _of_region(settings: Settings, region: str) -> Settings:
    """Return the part of the settings that one Region needs; ECS limits what is passed to a task to 8 kB."""
    client = settings.client_region
    pairs = {f"{region}->{client}", f"{client}->{region}"}
    return replace(
        settings,
        links={pair: link for pair, link in settings.links.items() if pair in pairs},
        pools={name: rates for name, rates in settings.pools.items() if name in (region, client)},
        region_names={},
        scale_up_seconds=None,
    )
