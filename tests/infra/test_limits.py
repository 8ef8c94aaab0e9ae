"""Limits of AWS that a deployment would meet, and an emulator does not: lengths, sizes, characters, requirements."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from infra.app import build
from infra.checks.assembly import Assembly
from infra.deployment.cdk_stacks import CdkStacks
from infra.policies.roles import roles_of
from tests.infra.conftest import Synthesized
from tests.support.topologies import document
from xdask_pipelines.topology import Topology, aws_names

#: Regions with long names.
_LONG = ("ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3")
_INLINE_CHARACTERS = 10_240
_USER_DATA_BYTES = 16_384


def long_topology(folder: Path, stage: str) -> Topology:
    """Return a topology of six Regions with long names, and eight datasets in each."""
    content = document(6, stage)
    for i, worker in enumerate(content["workers"]):
        worker["region"] = _LONG[i]
        worker["datasets"] = [
            {"name": f"d{j}", "layout": "era5-pds", "source": f"s3://{'b' * 63}/{'p' * 60}{j}", "mount": f"m{j}"}
            for j in range(8)
        ]
    file = folder / "regions.yaml"
    file.write_text(yaml.safe_dump(content))
    return Topology.load(file)


@pytest.mark.parametrize("stage", ["small", "full"])
def test_policies_of_a_role_fit_with_six_regions(tmp_path: Path, stage: str) -> None:
    for role in roles_of(long_topology(tmp_path, stage)):
        statements = [allow.document() for allow in role.statements]
        text = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
        assert len(text) <= _INLINE_CHARACTERS, role.name
        assert len(role.name) <= 64


def test_names_are_as_short_as_they_must_be() -> None:
    for region in _LONG:
        for bucket in (aws_names.results_bucket("1" * 12, region), aws_names.log_bucket("1" * 12, region)):
            assert len(bucket) <= 63
    assert len(aws_names.SEARCH_DOMAIN) <= 28


def test_descriptions_of_rules_have_characters_that_ec2_accepts(small: Synthesized, full: Synthesized) -> None:
    found = set()
    for made in (small, full):
        for group in made.assembly.of_type("AWS::EC2::SecurityGroup"):
            rules = (*group.properties.get("SecurityGroupIngress", ()), *group.properties["SecurityGroupEgress"])
            found |= {group.properties["GroupDescription"], *(rule["Description"] for rule in rules)}
        for kind in ("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"):
            found |= {rule.properties["Description"] for rule in made.assembly.of_type(kind)}
    assert len(found) > 10
    assert [text for text in found if not re.fullmatch(r"[a-zA-Z0-9 ._:/()#,@\[\]+=;{}!$*-]{1,255}", text)] == []


def test_the_set_up_of_a_host_fits_into_its_user_data(full: Synthesized) -> None:
    for template in full.assembly.of_type("AWS::EC2::LaunchTemplate"):
        assert len(json.dumps(template.properties["LaunchTemplateData"]["UserData"])) < _USER_DATA_BYTES


def test_sessions_are_possible_where_the_root_is_read_only(small: Synthesized, full: Synthesized) -> None:
    """The agent of SSM in a container writes to two folders, and ends at once where it cannot."""
    wanted = {"scheduler", "webserver", "code", "notebook"}
    for made in (small, full):
        reached = {
            container["Name"]
            for definition in made.assembly.of_type("AWS::ECS::TaskDefinition")
            for container in definition.properties["ContainerDefinitions"]
            if {"/var/lib/amazon", "/var/log/amazon"}
            <= {folder["ContainerPath"] for folder in container["LinuxParameters"]["Tmpfs"]}
        }
        assert reached == wanted


def test_auto_scaling_may_use_the_key_of_the_topic(small: Synthesized) -> None:
    """Auto Scaling publishes with its service-linked role, not as a service."""
    for key in small.assembly.of_type("AWS::KMS::Key"):
        text = json.dumps(key.properties["KeyPolicy"])
        assert "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling" in text


def test_an_executor_of_syncs_fits_on_the_smallest_instance(tmp_path: Path) -> None:
    content = document(1)
    content["workers"][0]["pool"] = {"instance_type": "c5d.large"}
    (tmp_path / "regions.yaml").write_text(yaml.safe_dump(content))
    build(Topology.load(tmp_path / "regions.yaml"), str(tmp_path / "out")).synth()
    for definition in Assembly.read(tmp_path / "out").of_type("AWS::ECS::TaskDefinition"):
        if definition.region != "eu-west-2":
            assert definition.properties["ContainerDefinitions"][0]["Memory"] <= 0.95 * 4096


def test_notebooks_reach_a_file_system_that_was_there_before(tmp_path: Path) -> None:
    group = "sg-0123456789abcdef0"
    home = {"file_system": "fs-0123456789abcdef0", "security_group": group}
    (tmp_path / "regions.yaml").write_text(yaml.safe_dump(document(1, home=home)))
    build(Topology.load(tmp_path / "regions.yaml"), str(tmp_path / "out")).synth()
    assembly = Assembly.read(tmp_path / "out")
    into = [r for r in assembly.of_type("AWS::EC2::SecurityGroupIngress") if r.properties["GroupId"] == group]
    out = [
        r
        for r in assembly.of_type("AWS::EC2::SecurityGroupEgress")
        if r.properties.get("DestinationSecurityGroupId") == group
    ]
    assert [rule.properties["FromPort"] for rule in (*into, *out)] == [2049, 2049]


def test_the_cdk_asks_only_when_it_deploys_one_stack_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more at once it cannot ask, and ends with an error."""
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(CdkStacks, "_run", lambda self, *words: called.append(words))
    CdkStacks(ask=True).deploy(["a"])
    CdkStacks(ask=False).deploy(["a"])
    ways = [(w[w.index("--require-approval") + 1], w[w.index("--concurrency") + 1]) for w in called]
    assert ways == [("any-change", "1"), ("never", "4")]
