"""One look of the controller on AWS: the scheduler's record, the sizes of all pools, orphaned workers, figures.

Belongs here: their order, and what the next look must know. Does not belong here: the loop (sensors), each of the four
(scheduler_record, pool_controller, orphaned_workers, pool_metrics).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import time
from typing import Any

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.local.certificates import expiry
from xdask_pipelines.placement.scheduler.backlog import EMPTY
from xdask_pipelines.resources.aws.clients import client
from xdask_pipelines.resources.aws.pool_metrics import PoolFigures, metric, publish, received
from xdask_pipelines.resources.aws.scheduler_record import SchedulerRecord
from xdask_pipelines.resources.pools.ecs_backend import EcsBackend
from xdask_pipelines.resources.pools.ecs_pools import EcsPools
from xdask_pipelines.resources.pools.orphaned_workers import end_orphans
from xdask_pipelines.resources.pools.pool_controller import PoolController
from xdask_pipelines.resources.pools.standing_pools import Tell

#: Each figure costs by the month, each call by itself: once a minute is 0.4 USD a month.
_FIGURES_SECONDS = 60.0
_RECORD_SECONDS = 60.0


class EcsController:
    """The controller of a topology's pools on AWS. Only one may run at a time.

    Parameters
    ----------
    pools
        The pools.
    tell
        Gets a line for what changed, and for what failed.
    """

    def __init__(self, pools: EcsPools, tell: Tell) -> None:
        self._pools, self._tell = pools, tell
        self._backend = EcsBackend(pools, tell)
        self._controller = PoolController(pools, self._backend, tell, clock=time)
        self._client_region = pools.topology.client.region
        self._record = SchedulerRecord(self._client_region)
        self._cloudwatch = client("cloudwatch", self._client_region)

    def look(self, memory: Mapping[str, Any], hours_since_sync: Callable[[], Mapping[str, float]]) -> dict[str, Any]:
        """Look once, and return what the next look must know. What fails is reported, and does not stop the rest.

        Parameters
        ----------
        memory
            What the last look returned; empty at the first.
        hours_since_sync
            Returns for each Region how old the oldest of its last syncs is, in hours.
        """
        self._controller.remember(memory.get("controller", {}))
        now = dict(memory)
        up = self._try("the record of the scheduler", lambda: self._keep_record(now)) is not None
        if up:
            up = self._try("the sizes of the pools", self._controller.step) is not None
        now["controller"] = self._controller.memory()
        if time() - now.get("figures_at", 0.0) >= _FIGURES_SECONDS:
            now["figures_at"] = time()
            if up:
                self._try("extra workers", lambda: self._end_orphans(now))
            self._try("the figures", lambda: self._publish(now, hours_since_sync, up=up))
        return now

    def _try(self, what: str, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except (OSError, XdaskError) as error:  # the next look is soon
            self._tell(f"{what}: {error}")
            return None

    def _keep_record(self, now: dict[str, Any]) -> str | None:
        """Keep the record true, and return the address; None while no scheduler runs."""
        address = self._record.task_address()
        if not address:
            self._tell(f"no task of the scheduler runs in {self._client_region}")
            return None
        if address != now.get("address") or time() - now.get("record_at", 0.0) >= _RECORD_SECONDS:
            if self._record.set(address):
                self._tell(f"the scheduler's name leads to {address} now")
            now |= {"address": address, "record_at": time()}
        return address

    def _end_orphans(self, now: dict[str, Any]) -> None:
        rpc, regions = SchedulerRPC(self._pools.client()), self._pools.topology.worker_regions
        now["orphans"] = end_orphans(rpc, regions, now.get("orphans", ()), self._tell)

    def _publish(self, now: dict[str, Any], hours_since_sync: Callable[[], Mapping[str, float]], *, up: bool) -> None:
        client_region, topology = self._client_region, self._pools.topology
        figures = [metric("SchedulerUp", up, client_region)]
        if folder := self._pools.existing_certificates():
            days = (expiry(folder) - datetime.now(UTC)).total_seconds() / 86400
            figures.append(metric("CertificateDays", days, client_region, "None"))
        if up:
            rpc = SchedulerRPC(self._pools.client())
            backlog, across = rpc.backlog(), rpc.across()
            instances, sizes = rpc.instances().values(), self._backend.sizes()
            bytes_in, hours = received(now.get("across", {}), across), hours_since_sync()
            now["across"] = across
            for region in topology.worker_regions:
                running = sum(one["region"] == region for one in instances)
                figures += PoolFigures(
                    running,
                    sizes.get(region, running),
                    backlog.get(region) or EMPTY,
                    bytes_in.get(region, 0),
                    hours.get(region),
                ).metrics(region)
        publish(self._cloudwatch, figures)
