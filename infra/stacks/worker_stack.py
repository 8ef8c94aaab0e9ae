"""A worker Region: hosts, pool and sync executor."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.image import image_of
from infra.constructs.logs import log_group
from infra.constructs.pool import Pool, PoolConfig
from infra.constructs.worker_host import HostConfig, WorkerHosts
from infra.flows import tier_of
from infra.stacks.network_stack import NetworkStack
from infra.stacks.region_stack import RegionStack
from infra.stacks.storage_stack import StorageStack
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import ALARM_TOPIC, PREFIX


class WorkerStack(RegionStack):
    """Everything of a worker Region that costs only while it works."""

    def __init__(
        self,
        scope: Construct,
        topology: Topology,
        region: str,
        network: NetworkStack,
        storage: StorageStack,
        key_arn: str,
    ) -> None:
        super().__init__(scope, "worker", topology, region)
        worker = topology.worker(region)
        for part in ("pool", "sync", "host"):
            log_group(self, f"{part.title()}Log", part, key_arn)
        full = self.aws.stage == "full"
        # A file system is in one zone, and reading across zones would cost; without one a pool spans zones.
        zones = slice(worker.lustre.zone - 1, worker.lustre.zone) if full else slice(None)
        hosts = WorkerHosts(
            self,
            "Hosts",
            HostConfig(
                region=region,
                instance_type=worker.pool.instance_type,
                spot=worker.pool.spot,
                most=worker.pool.max_workers + 1,  # one more for the sync executor
                subnets=network.network.subnets[tier_of("hosts", topology)][zones],
                public_address=self.aws.egress == "public",
                security_group=network.groups.ids["hosts"],
                results_file_system=storage.results.file_system_id,
                results_access_point=storage.results.access_point_id,
                datasets=worker.datasets,
                lustre_name=PREFIX if full else "",
                alarm_topic=f"arn:{self.partition}:sns:{region}:{self.account}:{ALARM_TOPIC}",
            ),
        )
        Pool(
            self,
            "Pool",
            PoolConfig(
                region=region,
                stanza=worker.pool,
                image=image_of(self),
                subnets=network.network.subnets["private"][zones],
                security_group=network.groups.ids["workers"],
                account=self.aws.account,
                partition=self.partition,
                insights=full,
                lustre=full,
            ),
            hosts.provider,
        )
