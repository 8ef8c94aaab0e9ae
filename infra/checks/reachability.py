"""Whether the templates allow exactly the declared connections: routes there and back, and rules at both ends.

Belongs here: the network that templates describe, held against `flows`. Does not belong here: other properties of
templates (exposure).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import product
from typing import Any

from infra.checks.assembly import Assembly, Resource, ResourceId
from infra.checks.routing import Routing
from infra.flows import INTERNET, Flow, RegionalFlow, flows_of, tier_of
from xdask_pipelines.topology import Topology

_ANYWHERE = IPv4Network("0.0.0.0/0")
#: Where a resource says in which subnets and groups it is: lists of paths of keys.
_PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "AWS::ECS::Service": (
        ("NetworkConfiguration", "AwsvpcConfiguration", "Subnets"),
        ("NetworkConfiguration", "AwsvpcConfiguration", "SecurityGroups"),
    ),
    "AWS::OpenSearchService::Domain": (("VPCOptions", "SubnetIds"), ("VPCOptions", "SecurityGroupIds")),
    "AWS::EFS::MountTarget": (("SubnetId",), ("SecurityGroups",)),
    "AWS::S3Files::MountTarget": (("SubnetId",), ("SecurityGroups",)),
    "AWS::FSx::FileSystem": (("SubnetIds",), ("SecurityGroupIds",)),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": (("Subnets",), ("SecurityGroups",)),
    "AWS::SageMaker::NotebookInstance": (("SubnetId",), ("SecurityGroupIds",)),
}


@dataclass(frozen=True)
class Rule:
    """A rule of a security group: its direction, the other end (a group or a network), and ports."""

    group: ResourceId
    direction: str
    peer: ResourceId | IPv4Network
    first: int
    last: int

    def __str__(self) -> str:
        peer = self.peer.logical_id if isinstance(self.peer, ResourceId) else self.peer
        return f"{self.group.stack}: {self.group.logical_id} {self.direction} {peer} on {self.first}-{self.last}"


class Reachability:
    """The network of an assembly.

    Parameters
    ----------
    assembly
        Its templates.
    topology
        Gives the declared flows.
    """

    def __init__(self, assembly: Assembly, topology: Topology) -> None:
        self._assembly, self._topology = assembly, topology
        self._routing = Routing(assembly)
        self._groups = {
            (resource.region, (resource.tag("Name") or "").removeprefix("xdask-")): resource
            for resource in assembly.of_type("AWS::EC2::SecurityGroup")
        }
        self.rules = frozenset(self._rules())
        self._subnets = self._subnets_by_group()

    def problems(self) -> list[str]:
        """Return what is wrong: connections that are declared and impossible, or possible and not declared."""
        flows = flows_of(self._topology)
        found = [problem for flow in flows for problem in self._missing(flow)]
        needed = {rule for flow in flows for rule in self._rules_of(flow)}
        found += [f"{rule} is not needed by any declared flow" for rule in self.rules - needed]
        found += self._routing.problems(self._needed_pairs(flows), self._open_subnets())
        return sorted(set(found))

    # ---- what templates have ------------------------------------------------------------------------------------------

    def _rules(self) -> Iterator[Rule]:
        for group in self._groups.values():
            for direction, key in (("admits", "SecurityGroupIngress"), ("may reach", "SecurityGroupEgress")):
                for rule in group.properties.get(key, ()):
                    if rule["CidrIp"] != "127.0.0.1/32":  # which stands for no rule
                        yield _rule(group.id, direction, IPv4Network(rule["CidrIp"]), rule)
        for direction, kind, other in (
            ("admits", "AWS::EC2::SecurityGroupIngress", "SourceSecurityGroupId"),
            ("may reach", "AWS::EC2::SecurityGroupEgress", "DestinationSecurityGroupId"),
        ):
            for resource in self._assembly.of_type(kind):
                stack, values = resource.id.stack, resource.properties
                yield _rule(self._id(stack, values["GroupId"]), direction, self._id(stack, values[other]), values)

    def _id(self, stack: str, value: Any) -> ResourceId:
        found = self._assembly.target(stack, value)
        assert isinstance(found, ResourceId), f"{stack}: {value} leads to no resource"
        return found

    def _subnets_by_group(self) -> dict[ResourceId, set[ResourceId]]:
        """Return the subnets in which something with a security group is."""
        found: dict[ResourceId, set[ResourceId]] = {group.id: set() for group in self._groups.values()}

        def add(resource: Resource, subnets: Any, groups: Any) -> None:
            of = [subnets] if isinstance(subnets, dict) else subnets
            for group, subnet in product(groups, of):
                found[self._id(resource.id.stack, group)].add(self._id(resource.id.stack, subnet))

        for kind, (subnets, groups) in _PLACES.items():
            for resource in self._assembly.of_type(kind):
                add(resource, _at(resource.properties, subnets), _at(resource.properties, groups))
        for database in self._assembly.of_type("AWS::RDS::DBInstance"):
            group = self._id(database.id.stack, database.properties["DBSubnetGroupName"])
            subnets = self._assembly.resources[group].properties["SubnetIds"]
            add(database, subnets, database.properties["VPCSecurityGroups"])
        for scaling in self._assembly.of_type("AWS::AutoScaling::AutoScalingGroup"):
            launch = self._id(scaling.id.stack, scaling.properties["LaunchTemplate"]["LaunchTemplateId"])
            data = self._assembly.resources[launch].properties["LaunchTemplateData"]
            hosts = [group for interface in data["NetworkInterfaces"] for group in interface["Groups"]]
            add(scaling, scaling.properties["VPCZoneIdentifier"], hosts)
        return found

    def _place(self, part: str, region: str) -> tuple[Resource | None, Sequence[ResourceId]]:
        """Return the group of a part, and the subnets it is in: those of its tier for tasks that are run by hand."""
        group = self._groups.get((region, part))
        if group is None:
            return None, []
        tier = tier_of(part, self._topology)
        return group, sorted(self._subnets[group.id]) or self._routing.subnets_named(region, f"xdask-{tier}-")

    # ---- declared against possible ------------------------------------------------------------------------------------

    def _missing(self, each: RegionalFlow) -> Iterator[str]:
        flow = each.flow
        what = (
            f"{flow.source} of {each.source_region} to {flow.destination} of {each.destination_region} on {flow.first}"
        )
        for part, region in ((flow.source, each.source_region), (flow.destination, each.destination_region)):
            if part != INTERNET and not self._place(part, region)[1]:
                yield f"{what}: {part} has no security group, or is nowhere"
                return
        for rule in self._rules_of(each):
            if rule not in self.rules:
                yield f"{what}: there is no rule that {rule}"
        if INTERNET in (flow.source, flow.destination):
            part = flow.source if flow.destination == INTERNET else flow.destination
            for subnet in self._place(part, each.source_region)[1]:
                if not self._routing.to_internet(subnet) and not (part == "workers" and self._routing.to_s3(subnet)):
                    yield f"{what}: no route from {subnet.logical_id}"
            return
        sources = self._place(flow.source, each.source_region)[1]
        destinations = self._place(flow.destination, each.destination_region)[1]
        for source, destination in product(sources, destinations):
            if not self._routing.reaches(source, destination):
                yield f"{what}: no route from {source.logical_id}"
            if not self._routing.reaches(destination, source):
                yield f"{what}: no route back from {destination.logical_id}"

    def _rules_of(self, each: RegionalFlow) -> Iterator[Rule]:
        """Iterate over the rules that a flow needs at both ends."""
        flow = each.flow
        source, sources = (None, []) if flow.source == INTERNET else self._place(flow.source, each.source_region)
        destination, destinations = (
            (None, []) if flow.destination == INTERNET else self._place(flow.destination, each.destination_region)
        )
        one_vpc = each.source_region == each.destination_region
        if source is not None:
            yield from self._end(source.id, "may reach", flow, destination, destinations, one_vpc)
        if destination is not None:
            yield from self._end(destination.id, "admits", flow, source, sources, one_vpc)

    def _end(
        self,
        group: ResourceId,
        direction: str,
        flow: Flow,
        other: Resource | None,
        subnets: Sequence[ResourceId],
        one_vpc: bool,
    ) -> Iterator[Rule]:
        if other is None:
            yield Rule(group, direction, _ANYWHERE, flow.first, flow.last)
        elif one_vpc:
            yield Rule(group, direction, other.id, flow.first, flow.last)
        else:
            tier = self._routing.siblings(subnets)
            yield from (Rule(group, direction, self._routing.cidr(subnet), flow.first, flow.last) for subnet in tier)

    def _needed_pairs(self, flows: Sequence[RegionalFlow]) -> set[tuple[ResourceId, str]]:
        """Return from which subnets another Region has to be reached."""
        pairs = set()
        for each in flows:
            if each.source_region != each.destination_region:
                ends = (
                    (each.flow.source, each.source_region, each.destination_region),
                    (each.flow.destination, each.destination_region, each.source_region),
                )
                for part, region, other in ends:
                    subnets = self._routing.siblings(self._place(part, region)[1])
                    pairs |= {(subnet, other) for subnet in subnets}
        return pairs

    def _open_subnets(self) -> set[ResourceId]:
        """Return the subnets that may have a route to the internet."""
        found: set[ResourceId] = set()
        for (region, part), group in self._groups.items():
            if tier_of(part, self._topology) != "private":
                found |= set(self._routing.siblings(self._place(part, region)[1])) | self._subnets[group.id]
            found |= set(self._routing.subnets_named(region, "xdask-public-"))
        return found


def _at(properties: Any, path: Sequence[str]) -> Any:
    for key in path:
        properties = properties[key]
    return properties


def _rule(group: ResourceId, direction: str, peer: ResourceId | IPv4Network, values: Any) -> Rule:
    first, last = values.get("FromPort", 0), values.get("ToPort", 65535)
    return Rule(group, direction, peer, first, last)
