"""Security groups of one Region, made from the declared flows.

Belongs here: a group for each part, a rule for each flow. Does not belong here: the flows (flows).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aws_cdk import Tags
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.constructs.network import tier_cidrs
from infra.flows import INTERNET, Flow, RegionalFlow, flows_of, tier_of
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import PREFIX

_ANYWHERE = "0.0.0.0/0"
#: Without any egress rule EC2 adds one that allows everything; this one allows nothing.
_NOTHING = {"ipProtocol": "-1", "cidrIp": "127.0.0.1/32", "description": "Nothing"}


class Groups(Construct):
    """One security group for each part of a Region.

    Parameters
    ----------
    scope, id_
        As for every construct.
    topology
        Gives the flows.
    region, vpc_id
        The Region and its VPC.

    Attributes
    ----------
    ids
        Security group by part.
    """

    def __init__(self, scope: Construct, id_: str, topology: Topology, region: str, vpc_id: str) -> None:
        super().__init__(scope, id_)
        self._topology, self._region = topology, region
        flows = flows_of(topology)
        outgoing = [flow for flow in flows if flow.source_region == region and flow.flow.source != INTERNET]
        incoming = [flow for flow in flows if flow.destination_region == region and flow.flow.destination != INTERNET]
        parts = sorted({flow.flow.source for flow in outgoing} | {flow.flow.destination for flow in incoming})
        self.ids: dict[str, str] = {}
        for part in parts:
            group = ec2.CfnSecurityGroup(
                self,
                _title(part),
                group_description=f"{part} of {PREFIX}",
                vpc_id=vpc_id,
                security_group_ingress=_distinct(self._ingress(part, incoming)),
                security_group_egress=_distinct(self._egress(part, outgoing)) or [_NOTHING],
            )
            Tags.of(group).add("Name", f"{PREFIX}-{part}")
            self.ids[part] = group.attr_group_id
        for flow in outgoing:
            if self._between_groups(flow):
                self._rules(flow.flow)

    def _between_groups(self, flow: RegionalFlow) -> bool:
        """Return whether both ends are groups of this VPC; groups of other Regions cannot be named, only addresses."""
        inside = flow.source_region == flow.destination_region
        return inside and INTERNET not in (flow.flow.source, flow.flow.destination)

    def _ingress(self, part: str, flows: Sequence[RegionalFlow]) -> Iterator[dict[str, Any]]:
        for each in flows:
            if each.flow.destination == part and not self._between_groups(each):
                cidrs = (
                    [_ANYWHERE] if each.flow.source == INTERNET else self._cidrs(each.source_region, each.flow.source)
                )
                yield from (_rule(each.flow, cidr) for cidr in cidrs)

    def _egress(self, part: str, flows: Sequence[RegionalFlow]) -> Iterator[dict[str, Any]]:
        for each in flows:
            if each.flow.source == part and not self._between_groups(each):
                to_internet = each.flow.destination == INTERNET
                cidrs = [_ANYWHERE] if to_internet else self._cidrs(each.destination_region, each.flow.destination)
                yield from (_rule(each.flow, cidr) for cidr in cidrs)

    def _cidrs(self, region: str, part: str) -> tuple[str, ...]:
        stanza = self._topology.client if region == self._topology.client.region else self._topology.worker(region)
        assert stanza.cidr is not None
        return tier_cidrs(stanza.cidr)[tier_of(part, self._topology)]

    def _rules(self, flow: Flow) -> None:
        source, destination = self.ids[flow.source], self.ids[flow.destination]
        name = f"{_title(flow.source)}To{_title(flow.destination)}{flow.first}"
        ports: dict[str, Any] = {"ip_protocol": "tcp", "from_port": flow.first, "to_port": flow.last}
        ec2.CfnSecurityGroupIngress(
            self,
            f"{name}In",
            group_id=destination,
            source_security_group_id=source,
            description=flow.reason,
            **ports,
        )
        ec2.CfnSecurityGroupEgress(
            self,
            f"{name}Out",
            group_id=source,
            destination_security_group_id=destination,
            description=flow.reason,
            **ports,
        )


def _distinct(rules: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each rule once, with all its reasons: two parts in one subnet are one network, and EC2 refuses a rule twice."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for rule in rules:
        known = found.setdefault((rule["cidrIp"], rule["fromPort"], rule["toPort"]), rule)
        if rule["description"] not in known["description"]:
            known["description"] += f"; {rule['description']}"
    return list(found.values())


def _title(part: str) -> str:
    return part.title()


def _rule(flow: Flow, cidr: str) -> dict[str, Any]:
    return {
        "ipProtocol": "tcp",
        "fromPort": flow.first,
        "toPort": flow.last,
        "cidrIp": cidr,
        "description": flow.reason,
    }
