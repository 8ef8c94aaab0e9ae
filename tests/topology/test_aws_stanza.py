"""The stanza `aws`: what it accepts, and what it refuses with a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from xdask_pipelines.errors import TopologyError
from xdask_pipelines.topology import Topology

ACCESS = """
  access:
    host: dagster.example.org
    certificate: arn:aws:acm:eu-west-2:123456789012:certificate/0a1b2c3d-1111-2222-3333-444455556666
    oidc:
      issuer: https://id.example.org
      authorization_endpoint: https://id.example.org/authorize
      token_endpoint: https://id.example.org/token
      user_info_endpoint: https://id.example.org/userinfo
      client_id: xdask
      client_secret: arn:aws:secretsmanager:eu-west-2:123456789012:secret:oidc-AbCdEf
"""


def load(tmp_path: Path, aws: str, worker: str = "", cidr: str = "10.1.0.0/16") -> Topology:
    file = tmp_path / "regions.yaml"
    file.write_text(
        f"profile: aws\naws:\n  account: '123456789012'\n  alarms_to: ops@example.org\n{aws}\n"
        "client: {region: eu-west-2, cidr: 10.0.0.0/16}\n"
        f"workers:\n  - region: us-east-1\n    cidr: {cidr}\n{worker}"
    )
    return Topology.load(file)


def test_the_small_stage_needs_an_account_and_an_address(tmp_path: Path) -> None:
    aws = load(tmp_path, "").aws
    assert aws is not None
    assert (aws.stage, aws.network, aws.egress, aws.notebook) == ("small", "peering", "public", "ecs")


def test_the_full_stage_needs_a_way_for_members_to_log_in(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="add access with host, certificate and oidc"):
        load(tmp_path, "  stage: full")
    aws = load(tmp_path, f"  stage: full{ACCESS}").aws
    assert aws is not None
    assert aws.access is not None
    with pytest.raises(TopologyError, match="stage small has no load balancer; remove access, or write stage: full"):
        load(tmp_path, ACCESS)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("  account: 123", "must be text, not 123; put it in quotes"),
        ("  alarms_to: nobody", "'nobody' is not an email address"),
        ("  home: {file_system: efs, security_group: sg-01234567}", "'efs' is not an EFS file system"),
        ("  stage: medium", "'small' or 'full'"),
        ("  budget_usd: 0", "greater than or equal to 1"),
    ],
)
def test_values_that_aws_would_refuse_are_refused_here(tmp_path: Path, line: str, problem: str) -> None:
    key = line.split(":")[0].strip()
    file = tmp_path / "regions.yaml"
    lines = [f"  {k}: {v}" for k, v in {"account": "'123456789012'", "alarms_to": "a@b.org"}.items() if k != key]
    file.write_text(
        "profile: aws\naws:\n" + "\n".join([*lines, line]) + "\nclient: {region: eu-west-2, cidr: 10.0.0.0/16}\n"
        "workers: [{region: us-east-1, cidr: 10.1.0.0/16}]\n"
    )
    with pytest.raises(TopologyError, match=problem):
        Topology.load(file)


def test_a_ninth_source_of_a_region_is_refused(tmp_path: Path) -> None:
    def datasets(count: int) -> str:
        lines = [
            f"      - {{name: d{i}, layout: era5-pds, mount: m{i}, source: s3://bucket-{i}}}\n" for i in range(count)
        ]
        return "    datasets:\n" + "".join(lines)

    load(tmp_path, "", datasets(8))
    with pytest.raises(TopologyError, match="has 9 datasets with a source, and a file system links at most 8"):
        load(tmp_path, "", datasets(9))


def test_a_network_without_room_for_two_zones_is_refused(tmp_path: Path) -> None:
    load(tmp_path, "", cidr="10.1.0.0/24")
    with pytest.raises(TopologyError, match=r"10.1.0.0/25 of us-east-1 has no room for the subnets of two zones"):
        load(tmp_path, "", cidr="10.1.0.0/25")
