"""Declared connections are possible, others are not; whatever breaks that is found."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from infra.checks.assembly import Assembly
from infra.checks.reachability import Reachability
from infra.flows import flows_of
from tests.infra.conftest import Synthesize, Synthesized
from xdask_pipelines.topology import Topology

OPTIONS = [
    (1, "small", {}),
    (6, "small", {}),
    (3, "small", {"network": "transit-gateway"}),
    (2, "small", {"egress": "nat", "notebook": "sagemaker"}),
    (2, "full", {}),
    (6, "full", {"egress": "nat"}),
]


@pytest.mark.parametrize(("workers", "stage", "aws"), OPTIONS)
def test_exactly_the_declared_connections_are_possible(
    synthesize: Synthesize, workers: int, stage: str, aws: dict[str, str]
) -> None:
    made = synthesize(workers, stage, **aws)
    assert Reachability(made.assembly, made.topology).problems() == []


def test_flows_join_all_pools_and_the_scheduler(small: Synthesized) -> None:
    pairs = {
        (each.source_region, each.flow.source, each.destination_region, each.flow.destination)
        for each in flows_of(small.topology)
    }
    client = small.topology.client.region
    for region in small.topology.worker_regions:
        assert (region, "workers", client, "scheduler") in pairs
        assert (client, "scheduler", region, "workers") in pairs
        for other in small.topology.worker_regions:
            assert (region, "workers", other, "workers") in pairs
        assert not any(pair[:2] == (client, "catalog") for pair in pairs), "the catalog connects to nobody"


def changed(made: Synthesized, stack: str, logical_id: str, resource: Any) -> list[str]:
    """Problems when one resource is another one, or is gone."""
    templates = {name: dict(template) for name, template in made.assembly.templates.items()}
    resources = dict(templates[stack]["Resources"])
    if resource is None:
        del resources[logical_id]
    else:
        resources[logical_id] = resource
    templates[stack] = {**templates[stack], "Resources": resources}
    return Reachability(Assembly(templates, made.assembly.regions), made.topology).problems()


def test_each_route_to_another_region_is_missed(small: Synthesized) -> None:
    routes = [r for r in small.assembly.of_type("AWS::EC2::Route") if "VpcPeeringConnectionId" in r.properties]
    assert len(routes) == 4 * 3 * 2, "four Regions, each with three others, two zones"
    for route in routes:
        assert changed(small, *route.id, None), route.id


def test_each_transit_gateway_route_and_association_is_missed(synthesize: Synthesize) -> None:
    made = synthesize(3, "small", network="transit-gateway")
    kinds = ("TransitGatewayRoute", "TransitGatewayRouteTableAssociation")
    found = [resource for kind in kinds for resource in made.assembly.of_type(f"AWS::EC2::{kind}")]
    assert len(found) == 12 + 12 + 4
    for resource in found:
        assert changed(made, *resource.id, None), resource.id


def test_a_route_by_the_wrong_peering_is_found(small: Synthesized) -> None:
    route, other = [r for r in small.assembly.of_type("AWS::EC2::Route") if r.id.stack == "xdask-peering-us-east-1"][
        1:3
    ]
    swapped = copy.deepcopy(dict(route.document))
    assert swapped["Properties"]["VpcPeeringConnectionId"] != other.properties["VpcPeeringConnectionId"]
    swapped["Properties"]["VpcPeeringConnectionId"] = other.properties["VpcPeeringConnectionId"]
    assert any("no route" in problem for problem in changed(small, *route.id, swapped))


def test_a_peering_with_another_network_is_found(small: Synthesized) -> None:
    peering = next(small.assembly.of_type("AWS::EC2::VPCPeeringConnection"))
    wrong = copy.deepcopy(dict(peering.document))
    wrong["Properties"]["PeerVpcId"] = wrong["Properties"]["VpcId"]
    assert any("no route" in problem for problem in changed(small, *peering.id, wrong))


def rules(made: Synthesized) -> Iterator[tuple[str, str, Any]]:
    """Each way to remove one rule: stack, logical id, and the resource without it."""
    for group in made.assembly.of_type("AWS::EC2::SecurityGroup"):
        for key in ("SecurityGroupIngress", "SecurityGroupEgress"):
            for i, rule in enumerate(group.properties.get(key, ())):
                if rule["CidrIp"] != "127.0.0.1/32":
                    less = copy.deepcopy(dict(group.document))
                    del less["Properties"][key][i]
                    yield (*group.id, less)
    for kind in ("SecurityGroupIngress", "SecurityGroupEgress"):
        for resource in made.assembly.of_type(f"AWS::EC2::{kind}"):
            yield (*resource.id, None)


@pytest.mark.parametrize("stage", ["small", "full"])
def test_each_rule_is_missed(small: Synthesized, full: Synthesized, stage: str) -> None:
    made = small if stage == "small" else full
    ways = list(rules(made))
    assert len(ways) > 90
    for stack, logical_id, less in ways:
        assert any("there is no rule" in problem for problem in changed(made, stack, logical_id, less)), logical_id


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("SecurityGroupIngress", {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}),
        ("SecurityGroupIngress", {"IpProtocol": "tcp", "FromPort": 8786, "ToPort": 8787, "CidrIp": "10.1.0.0/18"}),
        ("SecurityGroupEgress", {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}),
    ],
)
def test_each_group_with_one_rule_more_is_found(small: Synthesized, key: str, rule: dict[str, Any]) -> None:
    for group in small.assembly.of_type("AWS::EC2::SecurityGroup"):
        more = copy.deepcopy(dict(group.document))
        more["Properties"].setdefault(key, []).append(rule)
        problems = changed(small, *group.id, more)
        assert any("is not needed by any declared flow" in problem for problem in problems), group.id


def test_a_way_to_the_internet_from_workers_is_found(small: Synthesized) -> None:
    table = next(
        r for r in small.assembly.of_type("AWS::EC2::RouteTable")
        if r.id.stack == "xdask-network-us-east-1" and r.tag("Name") == "xdask-private-1"
    )  # fmt: skip
    gateway = next(
        r for r in small.assembly.of_type("AWS::EC2::InternetGateway") if r.id.stack == "xdask-network-us-east-1"
    )
    route = {
        "Type": "AWS::EC2::Route",
        "Properties": {
            "RouteTableId": {"Ref": table.id.logical_id},
            "DestinationCidrBlock": "0.0.0.0/0",
            "GatewayId": {"Ref": gateway.id.logical_id},
        },
    }
    problems = changed(small, table.id.stack, "Door", route)
    assert any("has a route to the internet" in problem for problem in problems)


def test_a_region_that_nothing_needs_is_found(small: Synthesized) -> None:
    """A route from the databases' subnets to another Region serves no flow."""
    table = next(
        r for r in small.assembly.of_type("AWS::EC2::RouteTable")
        if r.id.stack == "xdask-network-eu-west-2" and r.tag("Name") == "xdask-private-1"
    )  # fmt: skip
    route = {
        "Type": "AWS::EC2::Route",
        "Properties": {
            "RouteTableId": {"Ref": table.id.logical_id},
            "DestinationCidrBlock": "10.1.0.0/16",
            "VpcPeeringConnectionId": "pcx-1",
        },
    }
    problems = changed(small, table.id.stack, "Extra", route)
    assert any("has a route to 10.1.0.0/16, which no flow needs" in problem for problem in problems)


def test_no_part_is_reached_whose_name_is_not_declared(small: Synthesized) -> None:
    topology: Topology = small.topology
    assert topology.aws is not None
    assert not any(each.flow.source == "internet" for each in flows_of(topology)), "the small stage has no open door"
