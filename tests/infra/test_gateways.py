"""Peerings of transit gateways are accepted once, and waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from infra.deployment.aws_clients import Clients
from infra.deployment.gateways import accept_peerings
from tests.support.topologies import aws_topology
from xdask_pipelines.topology import Topology


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield Clients()


def requested(clients: Clients, topology: Topology) -> dict[str, str]:
    """Create gateways in all Regions, and request a peering for each pair."""
    tags = [{"ResourceType": "transit-gateway", "Tags": [{"Key": "Name", "Value": "xdask"}]}]
    gateways = {
        region: clients.of("ec2", region).create_transit_gateway(TagSpecifications=tags)["TransitGateway"][
            "TransitGatewayId"
        ]
        for region in topology.regions
    }
    for i, region in enumerate(topology.regions):
        for other in topology.regions[i + 1 :]:
            clients.of("ec2", region).create_transit_gateway_peering_attachment(
                TransitGatewayId=gateways[region],
                PeerTransitGatewayId=gateways[other],
                PeerAccountId="123456789012",
                PeerRegion=other,
            )
    return gateways


def test_all_peerings_are_accepted_once(clients: Clients, tmp_path: Path) -> None:
    topology, said = aws_topology(tmp_path, 2, network="transit-gateway"), list[str]()
    requested(clients, topology)
    accepted = accept_peerings(clients, topology, said.append, wait=lambda seconds: None)
    assert len(accepted) == len(set(accepted)) == 3
    assert "us-east-1: accepted the peering" in said[0]
    assert accept_peerings(clients, topology, said.append, wait=lambda seconds: None) == []


def test_gateways_of_others_are_left_alone(clients: Clients, tmp_path: Path) -> None:
    topology = aws_topology(tmp_path, 1, network="transit-gateway")
    east, client = clients.of("ec2", "us-east-1"), clients.of("ec2", "eu-west-2")
    ours, theirs = (ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"] for ec2 in (client, east))
    client.create_transit_gateway_peering_attachment(
        TransitGatewayId=ours, PeerTransitGatewayId=theirs, PeerAccountId="123456789012", PeerRegion="us-east-1"
    )
    assert accept_peerings(clients, topology, lambda line: None, wait=lambda seconds: None) == []


def test_without_gateways_there_is_nothing_to_do(clients: Clients, tmp_path: Path) -> None:
    assert accept_peerings(clients, aws_topology(tmp_path, 2), lambda line: None) == []
