"""Pools that are ECS services: from zero, for a scheduler whose name resolves in every VPC.

Belongs here: the kind of pools of the profile aws. Does not belong here: single services (ecs_service), how many instances
they have (ecs_backend), workers of a sync (sync_executor).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.errors import AwsError, PlacementError
from xdask_pipelines.placement import check_scheduler
from xdask_pipelines.placement.client.compute import Progress
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.resources.aws.ecs_service import EcsService
from xdask_pipelines.resources.aws.starting_pools import StartingPools
from xdask_pipelines.resources.aws.sync_executor import executors
from xdask_pipelines.resources.pools.connected_pools import ConnectedPools
from xdask_pipelines.resources.pools.placement_settings import settings_of
from xdask_pipelines.resources.pools.standing_pools import Status, Tell
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import CERTIFICATES_PATH, SCHEDULER_ADDRESS, SCHEDULER_SERVICE

#: A task on Fargate takes one or two minutes, and its address is known everywhere 10 s later.
_SCHEDULER_SECONDS = 300.0
_LOOK_SECONDS = 2.0


class EcsPools(ConnectedPools):
    """The pools of a topology on AWS. The controller in Dagster's daemon starts their instances when tasks wait."""

    here = False
    read_only = True

    def __init__(self, topology: Topology, watch: Progress | None = None, note: Tell | None = None) -> None:
        super().__init__(topology, watch, note)
        self._services: dict[str, EcsService] = {}

    def service(self, region: str) -> EcsService:
        """Return the service of a Region's pool."""
        if region not in self._services:
            self._services[region] = EcsService(self.topology.worker(region).region)
        return self._services[region]

    def scheduler_service(self) -> EcsService:
        """Return the service of the scheduler."""
        return EcsService(self.topology.client.region, SCHEDULER_SERVICE)

    def existing_certificates(self) -> Path | None:
        """Return the folder of certificates: of this container, else of the project."""
        for folder in (Path(os.environ.get("XDASK_CERTS") or CERTIFICATES_PATH), self.topology.certificates):
            if tls.has_certificates(folder):
                return folder
        return None

    # ---- up and down --------------------------------------------------------------------------------------------------

    def up(self, tell: Tell = lambda line: None) -> Status:
        """Start the scheduler's task if it has none, and wait until it answers. Pools start when tasks wait for them."""
        service = self.scheduler_service()
        if service.state().desired == 0:
            tell(f"starting the scheduler in {service.region}: one or two minutes")
            service.set_desired(1)
            deadline = monotonic() + _SCHEDULER_SECONDS
            while not self.status().address and monotonic() < deadline:
                sleep(_LOOK_SECONDS)
        status = self.status()
        if status.address:
            tell(f"scheduler at {status.address}")
        return status

    def down(self) -> bool:
        """Bring all pools to zero at once: what their instances hold is lost. The scheduler keeps running.

        The controller starts what `min_workers` and waiting tasks need again.
        """
        found = False
        for region in self.topology.worker_regions:
            service = self.service(region)
            tasks = service.tasks()
            service.protect([task.task_id for task in tasks], on=False)  # a service keeps what is protected
            found |= bool(tasks) or service.state().desired > 0
            service.set_desired(0)
        self.close()
        return found

    def status(self) -> Status:
        """Return which pools can take tasks; one at zero can, because its first instance starts when tasks wait."""
        status = self.observed({})
        if not status.address:
            return status
        problems, notes = [], []
        for region in self.topology.worker_regions:
            if status.workers.get(region):
                continue
            try:
                state, tasks = self.service(region).state(), self.service(region).tasks()
            except AwsError as error:
                problems.append(str(error))
                continue
            if tasks:
                notes.append(f"pool of {region}: starting")
            elif state.desired:
                failure = next((event.message for event in state.events if event.failure), "")
                why = f" ECS reports: {failure}" if failure else ""
                notes.append(f"pool of {region}: no instance has started yet.{why}")
            else:
                notes.append(f"pool of {region}: at zero; it starts when it is needed")
        return replace(status, problems=tuple(problems), notes=tuple(notes))

    @property
    def started(self) -> bool:
        """Whether the pools are expected to be there: always, once they are deployed."""
        return True

    @property
    def dashboard(self) -> str:
        """Empty: the scheduler's web pages are on loopback of its task."""
        return ""

    def settings(self) -> Settings:
        """Return links, prices and pools at their maximum size for the scheduler and a plan."""
        return settings_of(self.topology)

    # ---- computing ----------------------------------------------------------------------------------------------------

    def _watchers(self, tell: Tell | None) -> list[Progress]:
        listeners = [each for each in (tell, self._note) if each]

        def say(line: str) -> None:
            for each in listeners:
                each(line)

        return [*super()._watchers(tell), StartingPools(self.service, self._workers, say)]

    def _workers(self) -> Mapping[str, int]:
        """Return the number of worker processes by Region."""
        workers: Mapping[str, int] = check_scheduler(self.client())["pools"]
        return workers

    @contextmanager
    def temporary(self, regions: Sequence[str], tell: Tell) -> Iterator[Compute]:
        """Run one task in each of some Regions that may write to its data, for the duration of a ``with`` block."""
        folder = self.existing_certificates()
        if folder is None:
            raise PlacementError(
                f"This process has no TLS certificates: neither {CERTIFICATES_PATH} nor {self.topology.certificates} has "
                "any. Run it in a container of this project, or set XDASK_CERTS to a folder with them."
            )
        with executors([self.service(region) for region in regions], folder, self.settings(), tell) as compute:
            yield compute

    def _scheduler(self) -> str:
        return self.topology.scheduler or SCHEDULER_ADDRESS

    def _start(self) -> str:
        return "Start the scheduler with `xdask pools up`"

    def _restart(self) -> str:
        return (
            f"Check the ECS service {SCHEDULER_SERVICE} in {self.topology.client.region} (`xdask pools up` starts it), and "
            "that this machine is in one of the VPCs"
        )
