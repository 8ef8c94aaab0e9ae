"""Templates: their public shape, what they expose, and what linters say of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from infra.app import build
from infra.checks import exposure
from infra.policies.roles import roles_of
from tests.infra.conftest import Synthesize, Synthesized
from tests.support.topologies import aws_topology
from xdask_pipelines.errors import TopologyError
from xdask_pipelines.topology import Topology, aws_names
from xdask_pipelines.topology.aws_facts import region_partitions

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "XDASK_UPDATE_SNAPSHOTS"


def shown(template: dict[str, Any]) -> str:
    """Return a template as text, without what every change of any file of the image would change."""
    shape = {key: template[key] for key in ("Resources", "Outputs") if key in template}
    text = json.dumps(shape, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return re.sub(r"\b[0-9a-f]{64}\b", "ASSET", text)


@pytest.mark.parametrize("stage", ["small", "full"])
def test_templates_have_the_shape_that_was_reviewed(synthesize: Synthesize, stage: str) -> None:
    """A change shows as a difference of these files. To accept it: XDASK_UPDATE_SNAPSHOTS=1."""
    found = {name: shown(dict(template)) for name, template in synthesize(1, stage).assembly.templates.items()}
    folder = SNAPSHOTS / stage
    if os.environ.get(UPDATE):
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.json"):
            file.unlink()
        for name, text in found.items():
            (folder / f"{name}.json").write_text(text)
    assert {file.stem for file in folder.glob("*.json")} == set(found), f"stacks came or went; {UPDATE}=1 accepts it"
    for name, text in found.items():
        assert (folder / f"{name}.json").read_text() == text, f"{name} changed; {UPDATE}=1 accepts it"


def test_no_resource_of_a_role_is_a_wildcard_without_a_reason(small: Synthesized, full: Synthesized) -> None:
    for made in (small, full):
        reasons = {
            f"{role.name}/{allow.sid}": allow.reason
            for role in roles_of(made.topology)
            for allow in role.statements
            if "*" in allow.resources
        }
        assert set(exposure.wildcard_statements(made.assembly)) == set(reasons)
        assert all(re.search(r"supports? no resource|is limited by its", reason) for reason in reasons.values()), (
            reasons
        )


def test_policies_and_names_have_sizes_that_aws_accepts(tmp_path: Path) -> None:
    for stage in ("small", "full"):
        for role in roles_of(aws_topology(tmp_path, 6, stage)):
            statements = [allow.document() for allow in role.statements]
            text = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
            assert len(text) <= 10_240, f"{role.name}: {len(text)} characters of an inline policy"
            assert len(role.name) <= 64
            sids = [allow.sid for allow in role.statements]
            assert len(sids) == len(set(sids))
            assert all(sid.isalnum() for sid in sids)
    for region in region_partitions():
        account = "123456789012"
        assert len(aws_names.results_bucket(account, region)) <= 63
        assert len(aws_names.log_bucket(account, region)) <= 63
        for part in ("execution", "scheduler", "notebook"):
            assert len(aws_names.role_name(part, region)) <= 64


def test_syncs_read_their_sources_and_nothing_else_and_workers_ask_aws_for_nothing(full: Synthesized) -> None:
    def actions_and_resources(topology: Topology, part: str) -> tuple[set[str], set[str]]:
        (role,) = [role for role in roles_of(topology) if role.name == f"xdask-{part}-us-west-2"]
        statements = role.statements
        return {a for each in statements for a in each.actions}, {r for each in statements for r in each.resources}

    signed = full.topology
    public = tuple(
        worker.model_copy(update={"datasets": tuple(d.model_copy(update={"anonymous": True}) for d in worker.datasets)})
        for worker in signed.workers
    )
    asked_openly = signed.model_copy(update={"workers": public})
    assert actions_and_resources(signed, "sync") == (
        {"s3:GetObject", "s3:ListBucket"},
        {
            "arn:aws:s3:::cmip6-pds",
            "arn:aws:s3:::cmip6-pds/CMIP6/CMIP/MOHC/*",
            "arn:aws:s3:::cmip6-pds/CMIP6/ScenarioMIP/MOHC/*",
        },
    )
    assert actions_and_resources(asked_openly, "sync") == (set(), set())
    assert actions_and_resources(signed, "pool") == (set(), set())
    roles = {role.name: role for role in roles_of(full.topology)}
    assert [allow.sid for allow in roles["xdask-scheduler-eu-west-2"].statements] == ["TlsKeys", "Exec"]


@pytest.mark.parametrize("stage", ["small", "full"])
def test_workers_see_data_read_only_and_the_sync_alone_writes_them(synthesize: Synthesize, stage: str) -> None:
    for definition in synthesize(2, stage).assembly.of_type("AWS::ECS::TaskDefinition"):
        family = definition.properties["Family"]
        for container in definition.properties["ContainerDefinitions"]:
            assert container["ReadonlyRootFilesystem"] is True
            capabilities = container["LinuxParameters"]["Capabilities"]
            if stage == "full" and family.startswith("xdask-sync-"):  # files of FSx are root's
                assert (container["User"], capabilities["Add"]) == ("0:0", ["DAC_OVERRIDE"])
            else:
                assert (container["User"], capabilities.get("Add")) == ("10001:10001", None)
            assert capabilities["Drop"] == ["ALL"]
            read_only = {point["SourceVolume"]: point["ReadOnly"] for point in container.get("MountPoints", ())}
            assert read_only.get("tls", True) is True
            if "data" in read_only:
                assert read_only["data"] is not family.startswith("xdask-sync-"), family


def test_containers_fit_into_their_tasks_and_tasks_into_their_instances(small: Synthesized, full: Synthesized) -> None:
    for made in (small, full):
        for definition in made.assembly.of_type("AWS::ECS::TaskDefinition"):
            values = definition.properties
            containers = values["ContainerDefinitions"]
            asked = [container.get("Memory") or container["MemoryReservation"] for container in containers]
            if values["RequiresCompatibilities"] == ["FARGATE"]:
                assert (values["Cpu"], values["Memory"]) == ("2048", "8192"), "a pair that Fargate has"
                assert sum(asked) < int(values["Memory"])
            else:
                kind = made.topology.worker(definition.region).pool.instance
                assert sum(asked) <= 0.95 * kind.memory_gib * 1024
                assert sum(container["Cpu"] for container in containers) <= kind.vcpus * 1024
            folders = [f["Size"] for c in containers for f in c["LinuxParameters"]["Tmpfs"]]
            assert sum(folders) < 0.5 * sum(asked)


def test_exactly_one_scheduler_runs(small: Synthesized, full: Synthesized) -> None:
    for made in (small, full):
        services = {s.properties["ServiceName"]: s.properties for s in made.assembly.of_type("AWS::ECS::Service")}
        scheduler = services["xdask-scheduler"]
        assert scheduler["DesiredCount"] == 1
        assert scheduler["DeploymentConfiguration"] == {"MinimumHealthyPercent": 0, "MaximumPercent": 100}
        assert scheduler["AvailabilityZoneRebalancing"] == "DISABLED"


def test_hosts_use_imdsv2_and_keep_it_from_their_tasks(small: Synthesized) -> None:
    templates = list(small.assembly.of_type("AWS::EC2::LaunchTemplate"))
    assert len(templates) == 3
    for template in templates:
        data = template.properties["LaunchTemplateData"]
        assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        assert all(device["Ebs"]["Encrypted"] for device in data["BlockDeviceMappings"])
        assert "ECS_AWSVPC_BLOCK_IMDS=true" in json.dumps(data["UserData"])


def test_a_small_stage_has_nothing_that_costs_by_the_hour_in_vain(small: Synthesized) -> None:
    kinds = {resource.type for resource in small.assembly.resources.values()}
    assert not kinds & {
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "AWS::EC2::NatGateway",
        "AWS::FSx::FileSystem",
        "AWS::EC2::TransitGateway",
    }
    assert {e.properties["VpcEndpointType"] for e in small.assembly.of_type("AWS::EC2::VPCEndpoint")} == {"Gateway"}


def test_a_pool_with_lustre_is_in_its_zone_and_spans_zones_without(full: Synthesized, small: Synthesized) -> None:
    for made, zones in ((small, 2), (full, 1)):
        for group in made.assembly.of_type("AWS::AutoScaling::AutoScalingGroup"):
            assert len(group.properties["VPCZoneIdentifier"]) == zones
    for files in full.assembly.of_type("AWS::FSx::FileSystem"):
        subnets = files.properties["SubnetIds"]
        pool = next(
            s for s in full.assembly.of_type("AWS::ECS::Service")
            if s.region == files.region and "pool" in s.properties["ServiceName"]
        )  # fmt: skip
        lies = full.assembly.target(files.id.stack, subnets[0])
        network = pool.properties["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert [full.assembly.target(pool.id.stack, subnet) for subnet in network["Subnets"]] == [lies]


def test_a_region_without_data_has_no_file_system(synthesize: Synthesize) -> None:
    made = synthesize(3, "full")
    with_data = {r for r in made.topology.worker_regions if made.topology.worker(r).datasets}
    assert {files.region for files in made.assembly.of_type("AWS::FSx::FileSystem")} == with_data
    assert with_data < set(made.topology.worker_regions)


def test_alarms_reach_a_person(small: Synthesized) -> None:
    topics = {t.region: t.id for t in small.assembly.of_type("AWS::SNS::Topic")}
    assert set(topics) == set(small.topology.regions)
    for subscription in small.assembly.of_type("AWS::SNS::Subscription"):
        assert subscription.properties["Endpoint"] == "ops@example.org"
    alarms = list(small.assembly.of_type("AWS::CloudWatch::Alarm"))
    assert len(alarms) == 5 + 6 * 3
    for alarm in alarms:
        actions = alarm.properties["AlarmActions"]
        assert [small.assembly.target(alarm.id.stack, action) for action in actions] == [topics[alarm.region]]


@pytest.mark.parametrize(("workers", "stage", "aws"), [(3, "small", {}), (2, "full", {"egress": "nat"})])
def test_cfn_lint_finds_nothing(synthesize: Synthesize, workers: int, stage: str, aws: dict[str, str]) -> None:
    folder = synthesize(workers, stage, **aws).folder
    command = [Path(sys.executable).with_name("cfn-lint"), *folder.glob("*.template.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("which", ["small", "full"])
def test_cdk_nag_finds_nothing_that_is_not_acknowledged(
    small: Synthesized, full: Synthesized, which: str, tmp_path: Path
) -> None:
    topology = (small if which == "small" else full).topology
    build(topology, str(tmp_path), checked=True).synth()


def test_cdk_nag_does_look(small: Synthesized, tmp_path: Path) -> None:
    app = build(small.topology, str(tmp_path), checked=True)
    stack = app.node.find_child("xdask-worker-us-east-1")
    cdk.aws_s3.CfnBucket(stack, "Open")
    with pytest.raises(Exception, match="server access logs disabled"):
        app.synth()


def test_a_topology_without_the_stanza_is_refused(small: Synthesized) -> None:
    local: Topology = small.topology.model_copy(update={"aws": None})
    with pytest.raises(TopologyError, match="no stanza aws, so there is nothing to provision"):
        build(local)
