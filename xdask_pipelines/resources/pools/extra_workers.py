"""Extra workers for one run: tasks of the pools' own definitions beside their services, started by dask-cloudprovider.

Belongs here: its clusters, one a Region, attached to the standing scheduler. Does not belong here: the sizes of services
(ecs_backend), ending what a killed run left (orphaned_workers).

dask-cloudprovider 2025.9 has traps: closing a cluster with its defaults ends the scheduler; it asks for the state of a task
without a pause; a task that is ACTIVATING counts as failed; what is not given, it creates.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

from dask_cloudprovider.aws import ECSCluster
from dask_cloudprovider.aws.ecs import Worker as EcsWorker

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.local import tls
from xdask_pipelines.resources.pools.ecs_pools import EcsPools
from xdask_pipelines.resources.pools.standing_pools import Tell
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.aws_facts import region_partitions
from xdask_pipelines.topology.aws_names import cluster_name, log_group, pool_service, role_name

_POLL_SECONDS = 3.0
#: What began a task: this word, then the name of the client of its run (`orphaned_workers`).
EXTRA = "xdask-extra"


class _ExtraWorker(EcsWorker):  # type: ignore[misc]
    """A task that runs the command of its definition, `xdask worker`, which names its workers by the task."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._overrides: dict[str, Any] = {}

    async def _is_long_arn_format_enabled(self) -> bool:
        return True  # always, since 2021; asking needs a permission

    async def _update_task(self) -> None:
        await asyncio.sleep(_POLL_SECONDS)
        await super()._update_task()
        if self.task["lastStatus"] == "ACTIVATING":
            self.task["lastStatus"] = "PENDING"


class ExtraCluster(ECSCluster):  # type: ignore[misc]
    """Extra tasks of one Region's pool.

    Parameters
    ----------
    pools
        Pools with a running scheduler.
    region
        Region of the pool.
    count
        Number of tasks.
    """

    def __init__(self, pools: EcsPools, region: str, count: int) -> None:
        topology, service, certificates = pools.topology, pools.service(region), pools.existing_certificates()
        scheduler = pools.client().scheduler
        assert topology.aws is not None
        assert scheduler is not None
        partition, account = region_partitions()[region], topology.aws.account
        network = service.state().network["awsvpcConfiguration"]

        def role(part: str) -> str:
            return f"arn:{partition}:iam::{account}:role/{role_name(part, region)}"

        super().__init__(
            region_name=region,
            cluster_arn=f"arn:{partition}:ecs:{region}:{account}:cluster/{cluster_name(region)}",
            scheduler_address=scheduler.address,
            scheduler_task_definition_arn=pool_service(region),  # unused; without one, it would be created
            worker_task_definition_arn=pool_service(region),
            execution_role_arn=role("execution"),
            task_role_arn=role("pool"),
            cloudwatch_logs_group=log_group("pool"),
            cloudwatch_logs_stream_prefix="pool",
            vpc="given",
            subnets=list(network["subnets"]),
            security_groups=list(network["securityGroups"]),
            environment={},
            tags={},
            skip_cleanup=True,
            fargate_use_private_ip=True,
            n_workers=count,
            security=tls.security(certificates) if certificates else None,
            worker_task_kwargs={"startedBy": f"{EXTRA}/{pools.client().id}"},
            shutdown_scheduler=False,
            name=f"xdask-extra-{region}",
        )

    @property
    def cluster_name(self) -> str:
        """Name of the ECS cluster, which dask-cloudprovider would ask AWS for."""
        return str(self.cluster_arn).rpartition("/")[2]

    @cluster_name.setter
    def cluster_name(self, name: str | None) -> None:
        return

    @property
    def new_spec(self) -> dict[str, Any]:
        """What a further worker is made of."""
        return {"cls": _ExtraWorker, "options": self._options}

    @new_spec.setter
    def new_spec(self, spec: Mapping[str, Any] | None) -> None:
        self._options = dict(spec["options"]) if spec else {}

    def _client(self, name: str) -> AbstractAsyncContextManager[Any]:
        """Return a client of AWS; EC2 is only asked for an address, which is not used."""
        client: AbstractAsyncContextManager[Any] = _no_interfaces() if name == "ec2" else super()._client(name)
        return client


@asynccontextmanager
async def _no_interfaces() -> AsyncIterator[Any]:
    async def describe_network_interfaces(**_: Any) -> dict[str, Any]:
        return {"NetworkInterfaces": [{"PrivateIpAddresses": [{"PrivateIpAddress": ""}]}]}

    yield SimpleNamespace(describe_network_interfaces=describe_network_interfaces)


@contextmanager
def extra_clusters(pools: EcsPools, counts: Mapping[str, int], tell: Tell) -> Iterator[None]:
    """Run extra tasks in some Regions for the duration of a ``with`` block; they hand over what they hold before they end.

    Raises
    ------
    PlacementError
        A task does not start; those that did are ended.
    """
    with warnings.catch_warnings(), ExitStack() as stack:
        for region, count in counts.items():
            tell(f"{region}: starting {counted(count, 'extra instance')} for this run")
            try:
                warnings.simplefilter("ignore", UserWarning)  # about a scheduler that it did not start
                cluster = ExtraCluster(pools, region, count)
            except RuntimeError as error:
                raise PlacementError(
                    f"Extra instances of {region} do not start: {error}. Check the capacity of {region} (spot, quotas), or "
                    "run without `--extra`."
                ) from error
            stack.callback(cluster.close)
        yield
