"""`xdask doctor --aws` in a deployment in which one thing of a Region is broken at a time: the finding, and its remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
import yaml

from infra.rehearsal.account.recorded_calls import Refusal
from infra.rehearsal.program import Program
from infra.rehearsal.rehearse import synthesize
from infra.rehearsal.rehearsed_project import EXAMPLE, write_project
from infra.rehearsal.stage import Stage, stage
from infra.rehearsal.tasks.task_networks import NamespaceNetwork
from xdask_pipelines.topology.aws_names import (
    SCHEDULER_HOST,
    SCHEDULER_PORT,
    SCHEDULER_SERVICE,
    WORKER_CONTAINER,
    ZONE,
    pool_service,
    role_name,
)

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(600)]
CLIENT, EAST, WEST = "eu-west-2", "us-east-1", "us-west-2"
Findings = list[dict[str, str]]


class Examined:
    """A deployment whose pools run, and what can be broken in it."""

    def __init__(self, parts: Stage) -> None:
        self.parts, self.program = parts, Program(parts)

    def doctor(self, *only: str) -> Findings:
        return self.program.doctor(*only)

    def worker(self, region: str, *words: str) -> None:
        """Change a worker's container as root."""
        done = self.parts.task(region, pool_service(region), 120).run(WORKER_CONTAINER, words, 30)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def mounted(self, region: str, path: str, options: str, device: str = "none") -> Iterator[None]:
        """Another file system in memory at a path of a worker."""
        self.worker(region, "mount", "-t", "tmpfs", "-o", options, device, path)
        try:
            yield
        finally:
            self.worker(region, "umount", path)

    @contextmanager
    def writable_data(self, region: str) -> Iterator[None]:
        folder = next((self.parts.folder / "data" / region).iterdir())
        folder.chmod(0o777)
        self.worker(region, "mount", "-o", "remount,bind,rw", "/data")
        try:
            yield
        finally:
            self.worker(region, "mount", "-o", "remount,bind,ro", "/data")
            folder.chmod(0o755)

    @contextmanager
    def read_only_results(self, region: str) -> Iterator[None]:
        self.worker(region, "mount", "-o", "remount,bind,ro", "/results")
        try:
            yield
        finally:
            self.worker(region, "mount", "-o", "remount,bind,rw", "/results")

    @contextmanager
    def without_bucket(self, bucket: str) -> Iterator[None]:
        s3 = self.parts.s3.client()
        for each in s3.list_objects_v2(Bucket=bucket)["Contents"]:
            s3.delete_object(Bucket=bucket, Key=each["Key"])
        s3.delete_bucket(Bucket=bucket)
        try:
            yield
        finally:
            self.parts.fill_sources()

    @contextmanager
    def refusing(self, service: str, operation: str, times: int) -> Iterator[None]:
        refusal = Refusal("AccessDenied", "Access Denied")
        self.parts.proxy.faults[service, operation] = [refusal] * times
        try:
            yield
        finally:
            del self.parts.proxy.faults[service, operation]

    @contextmanager
    def without_record(self) -> Iterator[None]:
        route53 = self.parts.clients.of("route53", CLIENT)
        zone = route53.list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"][0]["Id"]
        records = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        (record,) = [each for each in records if each["Name"].rstrip(".") == SCHEDULER_HOST]
        # as an operator, whose calls the fault would refuse too, before the controller's are refused
        changes = [{"Action": "DELETE", "ResourceRecordSet": record}]
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
        with self.refusing("route53", "ChangeResourceRecordSets", 1000):
            names = self.parts.folder / "hosts"
            self.parts.wait(lambda: SCHEDULER_HOST not in names.read_text(), 60, "the name is gone")
            yield
        self.program.name_scheduler()

    @contextmanager
    def without_statement(self, sid: str) -> Iterator[None]:
        iam, role = self.parts.clients.of("iam", CLIENT), role_name("dagster", CLIENT)
        before: dict[str, Any] = {}
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            before[name] = document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            kept = [each for each in document["Statement"] if each.get("Sid") != sid]
            text = json.dumps({**document, "Statement": kept})
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=text)
        try:
            yield
        finally:
            for name, document in before.items():
                iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    @property
    def network(self) -> NamespaceNetwork:
        assert isinstance(self.parts.network, NamespaceNetwork), "needs root, for network namespaces"
        return self.parts.network


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examined]:
    top = tmp_path_factory.mktemp("doctor")
    data = write_project(EXAMPLE, top / "own")
    topology = top / "own" / "regions.yaml"
    stanzas = yaml.safe_load(topology.read_text())
    for worker in stanzas["workers"]:
        worker["pool"]["cool_down_seconds"] = 3600  # the pools that the first examination starts stay
    topology.write_text(yaml.safe_dump(stanzas, sort_keys=False))
    with stage(topology, synthesize(topology, top / "cdk.out"), top / "rehearsal", data=data, say=print) as parts:
        one = Examined(parts)
        one.program.deploy()
        one.program.name_scheduler()
        yield one


def problems(found: Findings, about: str) -> list[tuple[str, str]]:
    return [(each["said"], each["remedy"]) for each in found if (each["about"], each["state"]) == (about, "problem")]


def test_nothing_is_wrong_with_a_deployment_that_is_as_its_templates_say(examined: Examined) -> None:
    found = examined.doctor()
    assert [each for each in found if each["state"] == "problem"] == []
    said = [f"{each['about']}: {each['said']}" for each in found if each["state"] == "ok"]
    for region in (EAST, WEST):
        for what in ("sync", "pool"):
            assert any(
                f"{what} {region}: {SCHEDULER_HOST} is " in line and "port 8786 answers" in line for line in said
            )
        assert any(f"sync {region}: one byte of s3://" in line for line in said)
        assert any(f"pool {region}: the mount" in line and "is read-only" in line for line in said)
    assert any("answered a request that was signed with the role" in line for line in said)
    assert any("refused a request without signature (status 403)" in line for line in said)
    roads = [each["said"] for each in found if each["about"] == "roads"]
    assert any(f"{EAST} and {WEST}: round trip" in line for line in roads), roads


def test_a_refused_signature_is_found(examined: Examined) -> None:
    with examined.without_statement("Catalog"):
        ((said, remedy),) = problems(examined.doctor("client"), "catalog")
    assert "no identity-based policy allows the es:ESHttp" in said
    assert f"name the role {role_name('dagster', CLIENT)}" in remedy


def test_a_record_that_is_gone_is_found_in_every_region(examined: Examined) -> None:
    with examined.without_record():
        found = examined.doctor("client", "sync")
    assert problems(found, "catalog") == [], "the statement is there again"
    ((said, remedy),) = problems(found, "scheduler")
    assert f"{SCHEDULER_HOST} has no address here" in said
    assert "the sensor of the controller" in remedy
    for region in (EAST, WEST):
        assert f"{SCHEDULER_HOST} has no address there" in problems(found, f"sync {region}")[0][0]


def _broken_pools(examined: Examined, name: str) -> dict[str, AbstractContextManager[None]]:
    """What is broken in each Region."""
    if name == "data":
        return {EAST: examined.mounted(EAST, "/data/era5-pds", "mode=755"), WEST: examined.writable_data(WEST)}
    small = examined.mounted(WEST, "/spill", "mode=1777,size=20g", "/dev/nvme1n1")
    return {EAST: examined.read_only_results(EAST), WEST: small}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "data",
            {
                EAST: (
                    "problem",
                    "the mount era5-pds has no file",
                    "set-up log of the host (/xdask/host in us-east-1)",
                ),
                WEST: ("problem", "the mount cmip6 can be changed by analyses", "Deploy the worker stack again"),
            },
        ),
        (
            "disks",
            {
                EAST: ("problem", "results cannot be written: OSError: [Errno 30]", "S3 Files file system"),
                WEST: ("note", "workers spill to /dev/nvme1n1, 21.5 GB free", "Choose a larger instance type"),
            },
        ),
    ],
)
def test_what_is_broken_on_an_instance_is_found(
    examined: Examined, name: str, wanted: dict[str, tuple[str, str, str]]
) -> None:
    with ExitStack() as exits:
        for broken in _broken_pools(examined, name).values():
            exits.enter_context(broken)
        found = examined.doctor("pool")
    for region, (state, said, remedy) in wanted.items():
        hits = [each for each in found if each["about"] == f"pool {region}" and said in each["said"]]
        assert [each["state"] for each in hits] == [state], found
        assert remedy in hits[0]["remedy"]
    assert len([each for each in found if each["state"] == "problem"]) == sum(
        s == "problem" for s, *_ in wanted.values()
    )


def test_a_source_that_is_gone_and_one_that_is_private_are_found(examined: Examined) -> None:
    with examined.without_bucket("era5-pds"):
        found = examined.doctor("sync")
    ((said, remedy),) = problems(found, f"sync {EAST}")
    assert "s3://era5-pds cannot be read: NoSuchBucket" in said
    assert "Check the name of the bucket" in remedy
    with examined.refusing("s3", "ListObjectsV2", 1000):
        found = examined.doctor("sync")
    for region in (EAST, WEST):
        ((said, remedy),) = problems(found, f"sync {region}")
        assert "AccessDenied" in said
        assert f"admit the role xdask-sync-{region}" in remedy


def test_a_blocked_road_between_pools_is_found(examined: Examined) -> None:
    with examined.network.road_closed(EAST, WEST):
        findings = examined.doctor("pool", "roads")
    found = problems(findings, "roads")
    assert any(f"{EAST} cannot connect to {WEST}, port" in said for said, _ in found), findings
    assert any(f"in {WEST} for {EAST}: results cannot cross" in remedy for _, remedy in found)


def test_a_blocked_port_of_the_scheduler_is_found_and_its_region_is_not_waited_for(examined: Examined) -> None:
    scheduler = examined.parts.task(CLIENT, SCHEDULER_SERVICE).interface
    with examined.network.port_closed(scheduler, SCHEDULER_PORT, WEST):
        found = examined.doctor("sync", "pool")
    ((said, remedy),) = problems(found, f"sync {WEST}")
    assert f"cannot be reached there, port {SCHEDULER_PORT} (TimeoutError" in said
    assert "routes, peering and security groups" in remedy
    (pool,) = [each for each in found if each["about"] == f"pool {WEST}"]
    assert (pool["state"], "cannot reach the scheduler" in pool["said"]) == ("note", True)
    assert problems(found, f"sync {EAST}") == problems(found, f"pool {EAST}") == []
