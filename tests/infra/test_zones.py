"""Zones: those that are named, and what is refused before a deployment because a zone lacks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.stub import Stubber

from infra.app import build
from infra.checks.assembly import Assembly
from infra.constructs.search import VERSION
from infra.deployment.account import quota_problems
from infra.deployment.zones import zone_problems
from tests.support.topologies import document
from xdask_pipelines.errors import TopologyError
from xdask_pipelines.topology import Topology

CLIENT, EAST = "eu-west-2", "us-east-1"


def topology_of(folder: Path, change: Callable[[dict[str, Any]], None] = lambda content: None, **aws: Any) -> Topology:
    content = document(1, **aws)
    change(content)
    (folder / "regions.yaml").write_text(yaml.safe_dump(content))
    return Topology.load(folder / "regions.yaml")


class Account:
    """Answers of AWS, which fit the models of its API."""

    def __init__(
        self, *, instances: str = "abc", database: str = "abc", search: str = "abc", default: str = ""
    ) -> None:
        self.clients: dict[tuple[str, str], Any] = {}
        for region in (CLIENT, EAST):
            zones = [{"ZoneName": f"{region}{letter}"} for letter in "cab"]
            subnets = [{"AvailabilityZone": f"{region}{letter}"} for letter in default]
            self._answer("ec2", region, "describe_availability_zones", {"AvailabilityZones": zones})
            self._answer("ec2", region, "describe_subnets", {"Subnets": subnets})
        options = [{"AvailabilityZones": [{"Name": f"{CLIENT}{letter}"}]} for letter in database]
        kind = {"Engine": "postgres", "DBInstanceClass": "db.t4g.micro", "Vpc": True}
        self._answer(
            "rds", CLIENT, "describe_orderable_db_instance_options", {"OrderableDBInstanceOptions": options}, kind
        )
        node = {"EngineVersion": VERSION, "InstanceType": "t3.small.search", "RetrieveAZs": True}
        details = [{"AvailabilityZones": [f"{CLIENT}{letter}" for letter in search]}]
        self._answer("opensearch", CLIENT, "list_instance_type_details", {"InstanceTypeDetails": details}, node)
        offerings = {"InstanceTypeOfferings": [{"Location": f"{EAST}{letter}"} for letter in instances]}
        self._answer("ec2", EAST, "describe_instance_type_offerings", offerings)

    def _answer(self, service: str, region: str, call: str, answer: Any, asked: Any = None) -> None:
        key = (service, region)
        if key not in self.clients:
            made = boto3.client(service, region, aws_access_key_id="a", aws_secret_access_key="b")
            self.clients[key] = (made, stub := Stubber(made))
            stub.activate()
        self.clients[key][1].add_response(call, answer, asked)

    def of(self, service: str, region: str) -> Any:
        return self.clients[service, region][0]


def test_zones_that_have_everything_are_no_problem(tmp_path: Path) -> None:
    assert zone_problems(Account(), topology_of(tmp_path)) == []
    assert zone_problems(Account(database="b"), topology_of(tmp_path)) == [], "a database lies in one of them"
    assert zone_problems(Account(search="a"), topology_of(tmp_path)) == [], "one node lies in the first"


def test_a_zone_that_lacks_a_type_is_named_with_what_to_write(tmp_path: Path) -> None:
    assert zone_problems(Account(instances="bc"), topology_of(tmp_path)) == [
        "us-east-1: us-east-1a does not offer m5d.4xlarge. Write `zones: [b, c]` for this Region."
    ]
    (said,) = zone_problems(Account(instances="c"), topology_of(tmp_path))
    assert said.endswith("us-east-1c alone offers all: choose other types, or another Region.")
    (said,) = zone_problems(Account(database="c", search="bc"), topology_of(tmp_path))
    assert "eu-west-2a and eu-west-2b do not offer db.t4g.micro (database); eu-west-2a does not offer t3.small" in said
    (said,) = zone_problems(Account(search="a"), topology_of(tmp_path, search={"nodes": 2}))
    assert "eu-west-2b does not offer t3.small.search (catalog)" in said
    (said,) = zone_problems(Account(instances="ab", default="bc"), topology_of(tmp_path))
    assert "us-east-1c does not offer" in said, "CloudFormation counts zones with a default subnet alone"


def test_zones_that_are_named_are_asked_and_used(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def named(letters: str) -> Callable[[dict[str, Any]], None]:
        return lambda content: content["workers"][0].update(zones=list(letters))

    assert zone_problems(Account(instances="bc"), topology_of(tmp_path, named("cb"))) == []
    (said,) = zone_problems(Account(), topology_of(tmp_path, named("ax")))
    assert said == (
        "us-east-1: us-east-1x is not a zone of this account; available: us-east-1a, us-east-1b, us-east-1c. "
        "Correct `zones`."
    )
    build(topology_of(tmp_path, named("cb")), str(tmp_path / "out"), checked=True).synth()
    assert "WARNING" not in "".join(capfd.readouterr())
    subnets = [s for s in Assembly.read(tmp_path / "out").of_type("AWS::EC2::Subnet") if s.region == EAST]
    assert [s.properties["AvailabilityZone"] for s in subnets] == ["us-east-1c", "us-east-1b"] * 2
    with pytest.raises(TopologyError, match="zone b occurs twice"):
        topology_of(tmp_path, named("bb"))
    with pytest.raises(TopologyError, match="the letter of a zone"):
        topology_of(tmp_path, lambda content: content["client"].update(zones=["eu-west-2a", "b"]))
    with pytest.raises(TopologyError, match="3 nodes cannot be divided between two zones; write 1, or an even number"):
        topology_of(tmp_path, search={"nodes": 3})


def test_quotas_that_are_too_small_are_named(tmp_path: Path) -> None:
    account = Account()
    for service, region, value in (("fargate", CLIENT, 2.0), ("ec2", EAST, 32.0)):
        code = {"fargate": "L-3032A538", "ec2": "L-1216C47A"}[service]
        asked = {"ServiceCode": service, "QuotaCode": code}
        account._answer("service-quotas", region, "get_service_quota", {"Quota": {"Value": value}}, asked)
    fargate, instances = quota_problems(account, topology_of(tmp_path))
    assert "the quota is 2 virtual CPUs on Fargate, and scheduler, Dagster and one notebook need 4" in fargate
    assert "us-east-1: the quota is 32 virtual CPUs" in instances
