"""Transit gateways, as an alternative to VPC peering (option ``network: transit-gateway``).

Belongs here: the gateway of each Region, peerings of gateways, and routes over them. Does not belong here: accepting a
peering, which CloudFormation cannot do: the deployment does it between the two stacks.
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Tags
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.stacks.network_stack import NetworkStack
from infra.stacks.peering_stack import routes_to, title
from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import PREFIX


class TransitStack(RegionStack):
    """The gateway of one Region, and the peerings that it requests from the Regions that come later in the topology.

    Attributes
    ----------
    gateway, route_table
        The gateway, and the one route table of its attachments.
    peerings
        Attachments of peerings that this stack requests, by Region.
    """

    def __init__(self, scope: Construct, topology: Topology, region: str, network: NetworkStack) -> None:
        super().__init__(scope, "transit", topology, region)
        gateway = ec2.CfnTransitGateway(
            self,
            "Gateway",
            default_route_table_association="disable",
            default_route_table_propagation="disable",
            auto_accept_shared_attachments="disable",
        )
        Tags.of(gateway).add("Name", PREFIX)
        self.gateway = gateway.ref
        self.route_table = ec2.CfnTransitGatewayRouteTable(self, "Table", transit_gateway_id=gateway.ref).ref
        attachment = ec2.CfnTransitGatewayVpcAttachment(
            self,
            "Vpc",
            transit_gateway_id=gateway.ref,
            vpc_id=network.network.vpc_id,
            subnet_ids=network.network.subnets["private"],
        )
        self.attachment = attachment
        ec2.CfnTransitGatewayRouteTableAssociation(
            self,
            "Association",
            transit_gateway_attachment_id=attachment.ref,
            transit_gateway_route_table_id=self.route_table,
        )
        ec2.CfnTransitGatewayRouteTablePropagation(
            self,
            "Propagation",
            transit_gateway_attachment_id=attachment.ref,
            transit_gateway_route_table_id=self.route_table,
        )
        self.peerings: dict[str, str] = {}

    def peer(self, other: TransitStack) -> None:
        """Request a peering with the gateway of another Region."""
        peering = ec2.CfnTransitGatewayPeeringAttachment(
            self,
            f"To{title(other.place)}",
            transit_gateway_id=self.gateway,
            peer_transit_gateway_id=other.gateway,
            peer_region=other.place,
            peer_account_id=self.aws.account,
        )
        self.peerings[other.place] = peering.attr_transit_gateway_attachment_id


class TransitRoutesStack(RegionStack):
    """Routes from one Region to all others by its gateway, once the peerings are accepted."""

    def __init__(
        self,
        scope: Construct,
        topology: Topology,
        region: str,
        networks: Mapping[str, NetworkStack],
        gateways: Mapping[str, TransitStack],
    ) -> None:
        super().__init__(scope, "peering", topology, region)
        gateway = gateways[region]
        for other in topology.regions:
            if other == region:
                continue
            peering = gateway.peerings.get(other) or gateways[other].peerings[region]
            ec2.CfnTransitGatewayRouteTableAssociation(
                self,
                f"Association{title(other)}",
                transit_gateway_attachment_id=peering,
                transit_gateway_route_table_id=gateway.route_table,
            )
            ec2.CfnTransitGatewayRoute(
                self,
                f"To{title(other)}",
                destination_cidr_block=networks[other].network.config.cidr,
                transit_gateway_attachment_id=peering,
                transit_gateway_route_table_id=gateway.route_table,
            )
            routes_to(self, networks, other, transit_gateway_id=gateway.gateway)
