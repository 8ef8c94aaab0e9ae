"""The templates of the app, in an emulator of every Region."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.deploy import Deployment
from infra.rehearsal.account.emulator import Emulator
from infra.rehearsal.account.leftovers import RETAINED_KINDS, leftovers, remove_retained, retained
from infra.rehearsal.account.templates import read_assembly
from infra.rehearsal.iam_contract import deployed_contract
from infra.rehearsal.rehearse import synthesize
from xdask_pipelines.topology import Topology

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(300)]
ACCESS = """, access: {host: dagster.example.org,
  certificate: "arn:aws:acm:eu-west-2:123456789012:certificate/0123-ab",
  oidc: {issuer: "https://id.example.org", authorization_endpoint: "https://id.example.org/a",
  token_endpoint: "https://id.example.org/t", user_info_endpoint: "https://id.example.org/u", client_id: x,
  client_secret: "arn:aws:secretsmanager:eu-west-2:123456789012:secret:oidc-abcdef"}}"""
TOPOLOGY = """
profile: aws
aws: {{account: "123456789012", stage: {stage}, alarms_to: ops@example.org{access}}}
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
workers:
  - {{region: us-east-1, cidr: 10.1.0.0/16, lustre: {{capacity_gib: 1200}},
     datasets: [{{name: era5, layout: era5-pds, source: "s3://era5-pds", mount: era5-pds, excerpt: true}}]}}
  - {{region: us-west-2, cidr: 10.2.0.0/16, lustre: {{capacity_gib: 1200}},
     datasets: [{{name: cmip6, layout: cmip6-pds, source: "s3://cmip6-pds", mount: cmip6}}]}}
"""


@pytest.mark.parametrize("stage", ["small", "full"])
def test_every_stack_is_created_kept_and_destroyed(stage: str, tmp_path: Path, empty: Emulator) -> None:
    file = tmp_path / "regions.yaml"
    file.write_text(TOPOLOGY.format(stage=stage, access=ACCESS if stage == "full" else ""))
    topology, stacks = Topology.load(file), read_assembly(synthesize(file, tmp_path / "cdk.out"))
    clients = EmulatedClients(url=empty.url)
    deployment = Deployment(clients, stacks)
    assert set(deployment.deploy().values()) == {"created"}
    assert set(deployment.deploy().values()) == {"unchanged"}

    contract = deployed_contract(clients, "123456789012", "eu-west-2")
    roles = {
        role.rpartition("/")[2]
        for each in stacks
        for properties in each.of_type("AWS::ECS::TaskDefinition").values()
        for role in contract.world.roles_of(each.region, properties["Family"])
    }
    assert (
        {"xdask-dagster-eu-west-2", "xdask-pool-us-east-1", "xdask-sync-us-west-2"}
        <= roles
        <= contract.statements.keys()
    )

    deployment.destroy()
    left = leftovers(clients, topology.regions)
    assert {each.kind for each in left} <= RETAINED_KINDS
    assert len(left) <= sum(map(len, retained(stacks).values()))
    remove_retained(clients, left)
    assert leftovers(clients, topology.regions) == []
