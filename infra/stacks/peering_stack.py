"""Routes from one Region to all others, and the peerings that it begins.

Belongs here: VPC peerings and their routes. Does not belong here: transit gateways (transit_stack).
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.flows import Tier
from infra.stacks.network_stack import NetworkStack
from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology


def joined_tiers(topology: Topology, region: str) -> tuple[Tier, ...]:
    """Return the tiers of a Region that other Regions can reach: of worker Regions the private one alone."""
    assert topology.aws is not None
    if region != topology.client.region:
        return ("private",)
    return ("public",) if topology.aws.egress == "public" else ("egress",)


def routes_to(stack: RegionStack, networks: Mapping[str, NetworkStack], other: str, **target: str) -> None:
    """Add the routes from the tiers of a stack's Region that are joined to the network of another Region.

    Parameters
    ----------
    stack, networks
        Stack of the routes, and the networks of all Regions.
    other
        Region to which they lead.
    target
        The target of each, as in `ec2.CfnRoute`.
    """
    for tier in joined_tiers(stack.topology, stack.place):
        for i, table in enumerate(networks[stack.place].network.route_tables[tier]):
            ec2.CfnRoute(
                stack,
                f"{tier.title()}{i}To{title(other)}",
                route_table_id=table,
                destination_cidr_block=networks[other].network.config.cidr,
                **target,
            )


class PeeringStack(RegionStack):
    """Peerings to the Regions that come later in the topology, and routes to all.

    CloudFormation accepts a peering of another Region of the same account, so no further step is needed.

    Attributes
    ----------
    peerings
        Peerings that this stack begins, by Region.
    """

    def __init__(
        self,
        scope: Construct,
        topology: Topology,
        region: str,
        networks: Mapping[str, NetworkStack],
        earlier: Mapping[str, PeeringStack],
    ) -> None:
        super().__init__(scope, "peering", topology, region)
        self.peerings: dict[str, str] = {}
        for other in topology.regions:
            if other == region:
                continue
            if other in earlier:
                peering = earlier[other].peerings[region]
            else:
                peering = ec2.CfnVPCPeeringConnection(
                    self,
                    f"To{title(other)}",
                    vpc_id=networks[region].network.vpc_id,
                    peer_vpc_id=networks[other].network.vpc_id,
                    peer_region=other,
                ).ref
                self.peerings[other] = peering
            routes_to(self, networks, other, vpc_peering_connection_id=peering)


def title(region: str) -> str:
    """Return a Region as part of a logical id, such as ``UsEast1``."""
    return "".join(word.title() for word in region.split("-"))
