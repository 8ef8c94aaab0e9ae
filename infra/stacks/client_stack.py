"""Scheduler and Dagster: one task at stage small, two services and a load balancer at stage full."""

from __future__ import annotations

from typing import Any

from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.constructs.balancer import Balancer, BalancerConfig
from infra.constructs.client_tasks import (
    ClientConfig,
    dagster_containers,
    fargate_service,
    fargate_task,
    run_container,
    scheduler_container,
)
from infra.constructs.containers import insights
from infra.constructs.image import image_of
from infra.constructs.logs import log_group
from infra.flows import tier_of
from infra.stacks.network_stack import NetworkStack
from infra.stacks.region_stack import RegionStack
from infra.stacks.storage_stack import ClientStorageStack
from xdask_pipelines.topology import Topology, aws_names

_CPU, _MEMORY_MIB = 2048, 8192
#: What each container of a task has in any case; the rest is for whichever needs it, as they do not peak together.
_SMALL_MIB = {"scheduler": 2048, "code": 2048, "daemon": 1024, "webserver": 1024}
_FULL_MIB = {"code": 2048, "daemon": 1024, "webserver": 1024, "reader": 1024}


class ClientStack(RegionStack):
    """Services of the client Region.

    Attributes
    ----------
    cluster
        Its ECS cluster.
    config
        What its tasks share.
    """

    def __init__(
        self, scope: Construct, topology: Topology, network: NetworkStack, storage: ClientStorageStack, key_arn: str
    ) -> None:
        region = topology.client.region
        super().__init__(scope, "client", topology, region)
        for part in ("scheduler", "dagster"):
            log_group(self, f"{part.title()}Log", part, key_arn)
        self.cluster = ecs.CfnCluster(
            self,
            "Cluster",
            cluster_name=aws_names.cluster_name(region),
            capacity_providers=["FARGATE"],
            cluster_settings=insights(on=self.aws.stage == "full"),
        ).ref
        self.config = ClientConfig(
            region=region,
            account=self.aws.account,
            partition=self.partition,
            image=image_of(self),
            catalog=f"opensearch+https://{storage.search.endpoint}:443/{aws_names.PREFIX}?aws_region={region}",
            database_host=storage.database.host,
            results_file_system=storage.results.file_system_arn,
            results_access_point=storage.results.access_point_arn,
        )
        self._subnets = network.network.subnets[tier_of("dagster", topology)]
        self._groups, self._public = network.groups.ids, self.aws.egress == "public"
        if self.aws.stage == "small":
            self._small()
        else:
            self._full(network, storage)

    def _service(
        self, id_: str, name: str, definition: ecs.CfnTaskDefinition, parts: list[str], **more: Any
    ) -> ecs.CfnService:
        groups = [self._groups[part] for part in parts]
        return fargate_service(
            self, id_, name, self.cluster, definition, self._subnets, groups, public_address=self._public, **more
        )  # fmt: skip

    def _small(self) -> None:
        containers = [
            scheduler_container(self.config, _SMALL_MIB["scheduler"]),
            *dagster_containers(self.config, _SMALL_MIB, reader=False),
        ]
        name = aws_names.SCHEDULER_SERVICE
        volumes = [self.config.results_volume]
        definition = fargate_task(self, "Task", name, self.config, "dagster", _CPU, _MEMORY_MIB, containers, volumes)
        self._service("Service", name, definition, ["scheduler", "dagster"])

    def _full(self, network: NetworkStack, storage: ClientStorageStack) -> None:
        assert self.aws.access is not None
        scheduler = [scheduler_container(self.config, _MEMORY_MIB // 2)]
        name = aws_names.SCHEDULER_SERVICE
        definition = fargate_task(self, "Scheduler", name, self.config, "scheduler", _CPU, _MEMORY_MIB, scheduler, [])
        self._service("SchedulerService", name, definition, ["scheduler"])
        containers = dagster_containers(self.config, _FULL_MIB, reader=True)
        name = aws_names.DAGSTER_SERVICE
        volumes = [self.config.results_volume]
        definition = fargate_task(self, "Dagster", name, self.config, "dagster", _CPU, _MEMORY_MIB, containers, volumes)
        run = [run_container(self.config, _MEMORY_MIB // 2)]
        fargate_task(self, "Run", aws_names.RUN_FAMILY, self.config, "dagster", _CPU, _MEMORY_MIB, run, volumes)
        balancer = Balancer(
            self,
            "Balancer",
            BalancerConfig(
                access=self.aws.access,
                vpc_id=network.network.vpc_id,
                subnets=network.network.subnets["public"],
                security_group=self._groups["balancer"],
                log_bucket=storage.results.log_bucket.bucket_name,
            ),
        )
        target = ecs.CfnService.LoadBalancerProperty(
            container_name="reader", container_port=aws_names.UI_PORT, target_group_arn=balancer.targets.ref
        )
        service = self._service("DagsterService", name, definition, ["dagster"], balancers=[target])
        service.node.add_dependency(balancer.listener)
