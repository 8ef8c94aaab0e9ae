"""Routes between the subnets that templates describe: local, by VPC peering, by transit gateways, to the internet, to S3.

Belongs here: where a route table sends packets. Does not belong here: who may send them (reachability).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network

from infra.checks.assembly import Assembly, Resource, ResourceId

_ANYWHERE = IPv4Network("0.0.0.0/0")


class Routing:
    """The route tables of an assembly."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._subnets = {resource.id: resource for resource in assembly.of_type("AWS::EC2::Subnet")}
        self._vpc = {
            id_: self._target(subnet.id.stack, subnet.properties["VpcId"]) for id_, subnet in self._subnets.items()
        }
        self._table = {
            self._target(each.id.stack, each.properties["SubnetId"]): self._target(
                each.id.stack, each.properties["RouteTableId"]
            )
            for each in assembly.of_type("AWS::EC2::SubnetRouteTableAssociation")
        }
        self._routes: dict[ResourceId | str, list[Resource]] = {}
        for route in assembly.of_type("AWS::EC2::Route"):
            table = self._target(route.id.stack, route.properties["RouteTableId"])
            self._routes.setdefault(table, []).append(route)
        self._peerings = {
            each.id: frozenset(self._target(each.id.stack, each.properties[key]) for key in ("VpcId", "PeerVpcId"))
            for each in assembly.of_type("AWS::EC2::VPCPeeringConnection")
        }

    def _target(self, stack: str, value: object) -> ResourceId | str:
        return self._assembly.target(stack, value)

    def cidr(self, subnet: ResourceId) -> IPv4Network:
        """Return the addresses of a subnet."""
        return IPv4Network(self._subnets[subnet].properties["CidrBlock"])

    def subnets_named(self, region: str, prefix: str) -> list[ResourceId]:
        """Return the subnets of a Region whose names begin so."""
        return sorted(
            id_
            for id_, subnet in self._subnets.items()
            if subnet.region == region and (subnet.tag("Name") or "").startswith(prefix)
        )

    def siblings(self, subnets: Sequence[ResourceId]) -> list[ResourceId]:
        """Return all subnets of the tiers of some subnets: a tier has one in each zone."""
        tiers = {(self._subnets[s].region, (self._subnets[s].tag("Name") or "").rpartition("-")[0]) for s in subnets}
        return sorted({id_ for region, tier in tiers for id_ in self.subnets_named(region, f"{tier}-")})

    # ---- routes -----------------------------------------------------------------------------------------------------------

    def _best(self, subnet: ResourceId, destination: IPv4Network) -> Resource | None:
        """Return the most specific route of a subnet that covers a network."""
        routes = self._routes.get(self._table.get(subnet, ""), [])
        fitting = [r for r in routes if destination.subnet_of(IPv4Network(r.properties["DestinationCidrBlock"]))]
        return max(fitting, key=lambda r: IPv4Network(r.properties["DestinationCidrBlock"]).prefixlen, default=None)

    def reaches(self, source: ResourceId, destination: ResourceId) -> bool:
        """Return whether packets of one subnet arrive in another one."""
        here, there = self._vpc[source], self._vpc[destination]
        if here == there and self._subnets[source].region == self._subnets[destination].region:
            return source in self._table
        route = self._best(source, self.cidr(destination))
        if route is None:
            return False
        stack, values = route.id.stack, route.properties
        if "VpcPeeringConnectionId" in values:
            peering = self._target(stack, values["VpcPeeringConnectionId"])
            return isinstance(peering, ResourceId) and self._peerings.get(peering) == frozenset({here, there})
        if "TransitGatewayId" in values:
            gateway = self._target(stack, values["TransitGatewayId"])
            return self._gateway_reaches(gateway, here, there, self.cidr(destination))
        return False

    def _gateway_reaches(
        self, gateway: ResourceId | str, here: ResourceId | str, there: ResourceId | str, destination: IPv4Network
    ) -> bool:
        """Return whether the transit gateway of one VPC sends packets to a peer that another VPC is attached to."""
        attached = self._attached_vpcs()
        if here not in attached.get(gateway, set()):
            return False
        for route in self._assembly.of_type("AWS::EC2::TransitGatewayRoute"):
            stack, values = route.id.stack, route.properties
            table = self._target(stack, values["TransitGatewayRouteTableId"])
            if self._gateway_of_table(table) != gateway:
                continue
            if not destination.subnet_of(IPv4Network(values["DestinationCidrBlock"])):
                continue
            peering = self._target(stack, values["TransitGatewayAttachmentId"])
            ends = self._gateway_peering(peering)
            other = next(iter(ends - {gateway}), None) if gateway in ends else None
            if other is not None and there in attached.get(other, set()) and self._associated(peering, gateway):
                return self._associated(peering, other)
        return False

    def _attached_vpcs(self) -> dict[ResourceId | str, set[ResourceId | str]]:
        found: dict[ResourceId | str, set[ResourceId | str]] = {}
        for each in self._assembly.of_type("AWS::EC2::TransitGatewayVpcAttachment"):
            gateway = self._target(each.id.stack, each.properties["TransitGatewayId"])
            if self._associated(each.id, gateway):
                found.setdefault(gateway, set()).add(self._target(each.id.stack, each.properties["VpcId"]))
        return found

    def _gateway_of_table(self, table: ResourceId | str) -> ResourceId | str | None:
        if not isinstance(table, ResourceId):
            return None
        resource = self._assembly.resources[table]
        return self._target(table.stack, resource.properties["TransitGatewayId"])

    def _gateway_peering(self, peering: ResourceId | str) -> set[ResourceId | str]:
        if not isinstance(peering, ResourceId):
            return set()
        values = self._assembly.resources[peering].properties
        return {self._target(peering.stack, values[key]) for key in ("TransitGatewayId", "PeerTransitGatewayId")}

    def _associated(self, attachment: ResourceId | str, gateway: ResourceId | str) -> bool:
        """Return whether packets from an attachment are routed by the gateway's table."""
        for each in self._assembly.of_type("AWS::EC2::TransitGatewayRouteTableAssociation"):
            stack, values = each.id.stack, each.properties
            table = self._target(stack, values["TransitGatewayRouteTableId"])
            same = self._target(stack, values["TransitGatewayAttachmentId"]) == attachment
            if same and self._gateway_of_table(table) == gateway:
                return True
        return False

    def to_internet(self, subnet: ResourceId) -> bool:
        """Return whether a subnet has a route to the internet, also by NAT."""
        route = self._best(subnet, _ANYWHERE)
        return route is not None and bool({"GatewayId", "NatGatewayId"} & set(route.properties))

    def to_s3(self, subnet: ResourceId) -> bool:
        """Return whether a subnet has a route to S3 through a gateway endpoint."""
        table = self._table.get(subnet)
        return any(
            endpoint.properties.get("VpcEndpointType") == "Gateway"
            and str(endpoint.properties["ServiceName"]).endswith(".s3")
            and table in [self._target(endpoint.id.stack, t) for t in endpoint.properties.get("RouteTableIds", ())]
            for endpoint in self._assembly.of_type("AWS::EC2::VPCEndpoint")
        )

    def problems(self, needed: Iterable[tuple[ResourceId, str]], may_reach_internet: set[ResourceId]) -> list[str]:
        """Return routes that nothing needs.

        Parameters
        ----------
        needed
            Subnets, each with another Region that it has to reach.
        may_reach_internet
            Subnets that may have a default route.
        """
        pairs = set(needed)
        regions = {subnet.region: self.cidr(id_) for id_, subnet in self._subnets.items()}
        found = []
        for subnet, table in self._table.items():
            if not isinstance(subnet, ResourceId):
                continue
            for route in self._routes.get(table, []):
                destination = IPv4Network(route.properties["DestinationCidrBlock"])
                if destination == _ANYWHERE:
                    if subnet not in may_reach_internet:
                        found.append(f"{subnet.stack}: {subnet.logical_id} has a route to the internet")
                    continue
                others = [region for region, cidr in regions.items() if cidr.subnet_of(destination)]
                if not any((subnet, region) in pairs for region in others):
                    found.append(
                        f"{subnet.stack}: {subnet.logical_id} has a route to {destination}, which no flow needs"
                    )
        return found
