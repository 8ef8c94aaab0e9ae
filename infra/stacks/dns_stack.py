"""The private hosted zone, which resolves in every VPC of the topology."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_route53 as route53
from constructs import Construct

from infra.stacks.network_stack import NetworkStack
from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import ZONE


class DnsStack(RegionStack):
    """One zone; the address record of the scheduler is written by the controller when the scheduler's task starts."""

    def __init__(self, scope: Construct, topology: Topology, networks: Sequence[NetworkStack]) -> None:
        super().__init__(scope, "dns", topology, topology.client.region)
        vpcs = [
            route53.CfnHostedZone.VPCProperty(vpc_id=each.network.vpc_id, vpc_region=each.place) for each in networks
        ]
        self.zone_id = route53.CfnHostedZone(self, "Zone", name=ZONE, vpcs=vpcs).ref
