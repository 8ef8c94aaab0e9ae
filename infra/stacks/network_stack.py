"""The network of one Region, and its security groups."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.groups import Groups
from infra.constructs.network import Network, NetworkConfig
from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import results_bucket


class NetworkStack(RegionStack):
    """Subnets, route tables, the S3 endpoint, flow logs and security groups.

    Attributes
    ----------
    network, groups
        Its constructs.
    """

    def __init__(self, scope: Construct, topology: Topology, region: str, key_arn: str) -> None:
        super().__init__(scope, "network", topology, region)
        stanza = topology.client if self.is_client else topology.worker(region)
        assert stanza.cidr is not None
        datasets = () if self.is_client else topology.worker(region).datasets
        urls = [url for dataset in datasets for url in (dataset.source, dataset.inventory) if url]
        self.network = Network(
            self,
            "Network",
            NetworkConfig(
                region=region,
                cidr=stanza.cidr,
                zones=stanza.zones,
                existing=stanza.vpc,
                nat=self.aws.egress == "nat",
                readable_buckets=tuple(dict.fromkeys(url.removeprefix("s3://").partition("/")[0] for url in urls)),
                writable_buckets=(results_bucket(self.aws.account, region),),
                key_arn=key_arn,
            ),
        )
        self.groups = Groups(self, "Groups", topology, region, self.network.vpc_id)
