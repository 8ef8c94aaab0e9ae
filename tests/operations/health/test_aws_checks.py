"""What `xdask doctor --aws` makes of machines that are not as they should be; the rehearsal runs it on one that is.

A blocked road is examined in tests/wan, by the same check.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client

from infra.rehearsal.servers.loopback import free_port
from infra.rehearsal.servers.s3_server import S3Server
from xdask_pipelines.errors import AwsError
from xdask_pipelines.operations.health import aws_checks
from xdask_pipelines.operations.health.aws_checks import examine_deployment
from xdask_pipelines.operations.health.finding import Finding
from xdask_pipelines.operations.health.region_probes import MountProbe, RegionProbe
from xdask_pipelines.placement import compute
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.topology import Topology

REGION = "us-east-1"
TOPOLOGY = """
profile: aws
aws: {{account: "123456789012", alarms_to: ops@example.org}}
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets: [{{name: era5, layout: era5-pds, source: "{source}", mount: era5-pds}}]
"""


@dataclass
class OneWorker:
    """Pools of one Region with one worker, which is the sync executor too."""

    client: Client
    refusal: AwsError | None = None

    def compute(self, *xs: Any) -> Any:
        return compute(self.client, *xs)

    @contextmanager
    def temporary(self, regions: list[str], tell: Callable[[str], None]) -> Iterator[Any]:
        if self.refusal:
            raise self.refusal
        yield self.compute

    def status(self) -> SimpleNamespace:
        return SimpleNamespace(workers={})

    def close(self) -> None:
        return


@dataclass(frozen=True)
class Machine:
    """A worker, whose data and results are folders of a test, and its source."""

    client: Client
    folder: Path
    s3: S3Server

    def examine(
        self, source: str = "s3://doctor/era5", refusal: AwsError | None = None, host: str = "localhost", port: int = 0
    ) -> dict[str, list[Finding]]:
        """Examine it; returns findings by what they are about. Without a port, that of its scheduler is the right one."""
        scheduler: Any = self.client.scheduler
        (self.folder / "regions.yaml").write_text(TOPOLOGY.format(source=source))
        topology = Topology.load(self.folder / "regions.yaml")
        found: dict[str, list[Finding]] = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aws_checks, "pools_of", lambda topology: OneWorker(self.client, refusal))
            patch.setattr(aws_checks, "SCHEDULER_HOST", host)
            patch.setattr(aws_checks, "SCHEDULER_PORT", port or int(scheduler.address.rpartition(":")[2]))
            for each in examine_deployment(topology, lambda line: None):
                found.setdefault(each.about, []).append(each)
        return found


@pytest.fixture(scope="module")
def worker(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    s3.client().create_bucket(Bucket="doctor")
    s3.client().create_bucket(Bucket="doctor-empty")
    s3.client().put_object(Bucket="doctor", Key="era5/2026/01/data/x.nc", Body=b"xdask")
    (folder / "data").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        pool = Pool(REGION, data=folder / "data", results=folder / "results")
        running = start([pool], folder / "run", Settings(owner=os.getpid()))
        try:
            with Client(running.address) as client:
                yield Machine(client, folder, s3)
        finally:
            running.stop()


@pytest.fixture
def machine(worker: Machine) -> Machine:
    """The worker with data of one year, and with no results yet."""
    for name in ("data", "results"):
        path = worker.folder / name
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    (worker.folder / "data" / "era5-pds" / "2026").mkdir(parents=True)
    return worker


GOOD = RegionProbe(
    mounts=(MountProbe("era5-pds", "fuse.mountpoint-s3", filled=True, writable=False),),
    results_error="",
    spill_kind="xfs",
    spill_device="/dev/nvme1n1",
    spill_free_bytes=150_000_000_000,
    states_error="",
    address="10.0.0.7",
)


def problems(found: dict[str, list[Finding]], about: str) -> str:
    return "\n".join(f"{each.said} {each.remedy}" for each in found[about] if each.state == "problem")


def test_a_name_without_address_is_found_here_and_in_the_region(machine: Machine) -> None:
    found = machine.examine(host="scheduler.xdask.internal")
    assert "scheduler.xdask.internal has no address here" in problems(found, "scheduler")
    assert "scheduler.xdask.internal has no address there" in problems(found, "sync us-east-1")
    assert [each.state for each in found["pool us-east-1"]] == ["note"], "its pool is not waited for"


def test_a_port_that_does_not_answer_is_found(machine: Machine) -> None:
    found = machine.examine(port=free_port())
    assert "cannot be reached there, port" in problems(found, "sync us-east-1")
    assert "ConnectionRefusedError" in problems(found, "sync us-east-1")
    assert [each.state for each in found["pool us-east-1"]] == ["note"]


def test_a_pool_that_does_not_run_is_named_where_roads_are_examined(machine: Machine) -> None:
    (found,) = machine.examine()["roads"]
    assert (found.state, found.said) == ("note", "not examined from and to us-east-1: no instance of the pool runs")


def test_keys_on_a_disk_are_found(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDASK_CERTS", "/usr/share")
    assert "the TLS keys are in /usr/share" in problems(machine.examine(), "keys")


def test_a_mount_that_is_missing_or_empty_is_found(machine: Machine) -> None:
    mount = machine.folder / "data" / "era5-pds"
    (mount / "2026").rmdir()
    assert "the mount era5-pds has no file Read" in problems(machine.examine(), "pool us-east-1")
    mount.rmdir()
    assert "the mount era5-pds has no file (FileNotFoundError" in problems(machine.examine(), "pool us-east-1")


def test_a_mount_that_analyses_could_change_is_found(machine: Machine) -> None:
    assert "the mount era5-pds can be changed by analyses" in problems(machine.examine(), "pool us-east-1")
    assert [each.name for each in (machine.folder / "data" / "era5-pds").iterdir()] == ["2026"]  # no trial is left


def test_results_that_cannot_be_written_are_found(machine: Machine) -> None:
    results = machine.folder / "results"
    results.rmdir()
    results.write_text("a file where the folder should be")
    found = machine.examine()
    for about in ("pool us-east-1", "sync us-east-1"):
        assert "results cannot be written: " in problems(found, about)


def test_a_source_that_cannot_be_read_is_found(machine: Machine) -> None:
    assert problems(machine.examine(), "sync us-east-1") == ""
    said = problems(machine.examine("s3://not-there/era5"), "sync us-east-1")
    assert "s3://not-there/era5 cannot be read: NoSuchBucket" in said
    said = problems(machine.examine("s3://doctor-empty/era5"), "sync us-east-1")
    assert "there is no object below s3://doctor-empty/era5" in said


def test_an_executor_that_does_not_start_hides_no_other_check(machine: Machine) -> None:
    found = machine.examine(refusal=AwsError("ECS has no capacity. Ask for another zone."))
    assert "ECS has no capacity" in problems(found, "sync us-east-1")
    assert "the mount era5-pds can be changed" in problems(found, "pool us-east-1")


@pytest.mark.parametrize(
    ("kind", "error", "state", "said"),
    [
        ("fuse.mountpoint-s3", "", "note", "there was no Lustre"),
        ("lustre", "a file is not on Lustre", "problem", "a file is not on Lustre"),
        ("lustre", "", "ok", "Lustre is mounted"),
        ("ext4", "", "problem", "the data are on ext4"),
    ],
)
def test_at_stage_full_the_file_system_is_examined(kind: str, error: str, state: str, said: str) -> None:
    probe = replace(GOOD, mounts=(replace(GOOD.mounts[0], kind=kind),), states_error=error)
    (found,) = aws_checks._lustre("sync us-east-1", probe)
    assert found.state == state
    assert said in found.said


@pytest.mark.parametrize(
    ("device", "free", "state", "said"),
    [
        ("/dev/nvme1n1", 150_000_000_000, "ok", "150 GB free"),
        ("/dev/xvda1", 150_000_000_000, "note", "which is not NVMe"),
        ("/dev/nvme1n1", 20_000_000_000, "note", "20.0 GB free"),
    ],
)
def test_a_spill_disk_that_is_slow_or_small_is_noted(device: str, free: int, state: str, said: str) -> None:
    probe = replace(GOOD, spill_device=device, spill_free_bytes=free)
    *_, found = aws_checks._disks("pool us-east-1", probe)
    assert found.state == state
    assert said in found.said
