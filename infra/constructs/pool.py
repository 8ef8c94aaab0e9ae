"""The pool of a Region and its sync executor, as ECS tasks on its hosts.

Belongs here: cluster, task definitions, the service. Does not belong here: hosts (worker_host), how many tasks there are
(the controller in Dagster's daemon).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.constructs.containers import container, insights
from xdask_pipelines.topology import aws_names
from xdask_pipelines.topology.stanzas import PoolStanza

#: Share of an instance's memory for a task; the agent, Mountpoint and the file cache have the rest.
_TASK_MEMORY = 0.9
_DRAIN_SECONDS = 110
_SYNC_CPU, _SYNC_MEMORY_MIB, _SYNC_PROCESSES, _SYNC_THREADS = 2048, 6144, 2, 2
#: Folder of a host for each volume.
_FOLDERS = {"data": "/mnt/data", "results": "/mnt/results", "spill": "/mnt/nvme/spill", "tls": "/run/xdask/tls"}
_MOUNTS = {
    "data": aws_names.DATA_PATH,
    "results": aws_names.RESULTS_PATH,
    "spill": aws_names.SPILL_PATH,
    "tls": aws_names.CERTIFICATES_PATH,
}


@dataclass(frozen=True)
class PoolConfig:
    """The pool of one Region.

    Attributes
    ----------
    region, stanza
        Region, and size and shape of its workers.
    image
        Image of all tasks.
    subnets, security_group
        Network of the tasks: without a route to the internet.
    account, partition
        Of the roles.
    insights
        Whether CloudWatch has figures of every task, each of which costs.
    lustre
        Whether the Region may have a file system.
    """

    region: str
    stanza: PoolStanza
    image: str
    subnets: Sequence[str]
    security_group: str
    account: str
    partition: str
    insights: bool
    lustre: bool


class Pool(Construct):
    """A cluster whose only capacity is that of its hosts.

    Attributes
    ----------
    service
        The pool's service, of no task until the controller wants some.
    """

    def __init__(self, scope: Construct, id_: str, config: PoolConfig, provider: ecs.CfnCapacityProvider) -> None:
        super().__init__(scope, id_)
        self._config = config
        cluster = ecs.CfnCluster(
            self,
            "Cluster",
            cluster_name=aws_names.cluster_name(config.region),
            cluster_settings=insights(on=config.insights),
        )
        strategy = [
            ecs.CfnClusterCapacityProviderAssociations.CapacityProviderStrategyProperty(
                capacity_provider=provider.ref, weight=1
            )
        ]
        capacity = ecs.CfnClusterCapacityProviderAssociations(
            self,
            "Capacity",
            cluster=cluster.ref,
            capacity_providers=[provider.ref],
            default_capacity_provider_strategy=strategy,
        )
        pool, self.sync = self._pool_definition(), self._sync_definition()
        self.service = ecs.CfnService(
            self,
            "Service",
            service_name=aws_names.pool_service(config.region),
            cluster=cluster.ref,
            task_definition=pool.ref,
            desired_count=config.stanza.min_workers,
            capacity_provider_strategy=[
                ecs.CfnService.CapacityProviderStrategyItemProperty(capacity_provider=provider.ref, weight=1)
            ],
            placement_constraints=[ecs.CfnService.PlacementConstraintProperty(type="distinctInstance")],
            availability_zone_rebalancing="DISABLED",  # it would end tasks that hold results
            deployment_configuration=ecs.CfnService.DeploymentConfigurationProperty(
                minimum_healthy_percent=0, maximum_percent=100
            ),
            network_configuration=ecs.CfnService.NetworkConfigurationProperty(
                awsvpc_configuration=ecs.CfnService.AwsVpcConfigurationProperty(
                    subnets=list(config.subnets), security_groups=[config.security_group], assign_public_ip="DISABLED"
                )
            ),
            propagate_tags="SERVICE",
            enable_ecs_managed_tags=True,
        )
        self.service.node.add_dependency(capacity)

    def _pool_definition(self) -> ecs.CfnTaskDefinition:
        config, stanza = self._config, self._config.stanza
        command = [
            *("worker", "--region", config.region, "--scheduler", aws_names.SCHEDULER_ADDRESS),
            *self._folders(),
            *("--processes", str(stanza.processes), "--threads", str(stanza.threads)),
            *("--memory-limit", str(stanza.memory_limit_bytes), "--drain-seconds", str(_DRAIN_SECONDS)),
        ]
        cpu = stanza.instance.vcpus * 1024
        return self._definition(
            "Pool", aws_names.pool_service(config.region), "pool", command, cpu, self._most_mib(), ("results", "spill")
        )

    def _most_mib(self) -> int:
        return int(self._config.stanza.instance.memory_gib * 1024 * _TASK_MEMORY)

    def _sync_definition(self) -> ecs.CfnTaskDefinition:
        config = self._config
        command = [
            *("executor", "--region", config.region),
            *self._folders(),
            *("--processes", str(_SYNC_PROCESSES), "--threads", str(_SYNC_THREADS)),
        ]
        return self._definition(
            "Sync",
            aws_names.sync_family(config.region),
            "sync",
            command,
            _SYNC_CPU,
            min(_SYNC_MEMORY_MIB, self._most_mib()),
            ("data", "results", "spill"),
            # FSx gives imported files to root. A sync removes those whose objects are gone; keys and spill are not root's.
            capabilities=["DAC_OVERRIDE"] if config.lustre else [],
        )

    def _folders(self) -> list[str]:
        first, last = aws_names.WORKER_PORTS
        return [
            *(
                "--data",
                aws_names.DATA_PATH,
                "--results",
                aws_names.RESULTS_PATH,
                "--certs",
                aws_names.CERTIFICATES_PATH,
            ),
            *("--local-directory", aws_names.SPILL_PATH, "--ports", f"{first}-{last}"),
        ]

    def _definition(
        self,
        id_: str,
        family: str,
        part: str,
        command: list[str],
        cpu: int,
        memory: int,
        writable: Sequence[str],
        capabilities: Sequence[str] = (),
    ) -> ecs.CfnTaskDefinition:
        config = self._config

        def role(of: str) -> str:
            return f"arn:{config.partition}:iam::{config.account}:role/{aws_names.role_name(of, config.region)}"

        definition = ecs.CfnTaskDefinition(
            self,
            id_,
            family=family,
            network_mode="awsvpc",
            requires_compatibilities=["EC2"],
            task_role_arn=role(part),
            execution_role_arn=role("execution"),
            volumes=[
                ecs.CfnTaskDefinition.VolumeProperty(
                    name=name, host=ecs.CfnTaskDefinition.HostVolumePropertiesProperty(source_path=path)
                )
                for name, path in _FOLDERS.items()
            ],
            container_definitions=[
                container(
                    aws_names.WORKER_CONTAINER,
                    config.image,
                    command,
                    config.region,
                    part,
                    env={},
                    cpu=cpu,
                    memory_mib=memory,
                    mounts=_MOUNTS,
                    writable=writable,
                    stop_seconds=_DRAIN_SECONDS + 10,
                    health=True,
                    capabilities=capabilities,
                )
            ],
        )
        definition.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        return definition
