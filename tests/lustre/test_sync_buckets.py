"""Syncs from buckets: a real S3 server, imports through a twin of FSx, headers read on workers of the Region."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import Config

from infra.rehearsal.account.fsx_twin import FsxTwin, fsx_twin
from infra.rehearsal.servers.s3_server import S3Server
from tests.support import lustre_ioctls
from tests.support.killed_sync import STEPS
from tests.support.places import EAST, Cluster
from tests.support.proxy import proxied
from xdask_pipelines.access.syncing import lease_holder
from xdask_pipelines.access.syncing.sync_place import SyncContext, Synced, plan_place, sync_place
from xdask_pipelines.access.syncing.worker_calls import MountAtHome
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.catalog.sync import SyncPlan
from xdask_pipelines.errors import CatalogError, StaleWriter, SuspiciousPlan, XdaskError
from xdask_pipelines.lustre import ImportReport
from xdask_pipelines.lustre.fsx import FsxLustre
from xdask_pipelines.lustre.fsx_or_buckets import FsxOrBuckets
from xdask_pipelines.lustre.mounted_bucket import MountedBucket
from xdask_pipelines.placement import compute
from xdask_pipelines.synthetic import write_era5_month
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.place import Place

PLACE = Place("era5", EAST)
SUPPORT = Path(__file__).parents[1] / "support"
REGIONS = """
profile: aws
aws: {{account: "123456789012", alarms_to: ops@example.org}}
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets:
      - {{name: era5, layout: era5-pds, source: {source}, mount: {mount}}}
"""


@dataclass
class Aws:
    """A bucket, its file system, and the means to sync it."""

    topology: Topology
    catalog: Catalog
    lustre: FsxLustre
    twin: FsxTwin
    s3: Any
    url: str
    mount: Path
    client: Any
    said: list[str]

    def put(self, key: str, content: bytes | Path) -> None:
        body = content.read_bytes() if isinstance(content, Path) else content
        self.s3.put_object(Bucket=self.url.removeprefix("s3://"), Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.url.removeprefix("s3://"), Key=key)

    def bring(self) -> ImportReport:
        (mount,) = self.topology.mounts("era5", EAST)
        return self.lustre.import_changes(mount, self.said.append)

    def sync(self, **options: Any) -> Synced:
        return sync_place(self.context(**options), PLACE)

    def context(self, **options: Any) -> SyncContext:
        run = partial(compute, self.client)
        return SyncContext(
            **{"topology": self.topology, "catalog": self.catalog, "compute": run, "lustre": self.lustre, **options}
        )


@pytest.fixture(scope="session")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three real months of ERA5's form, by key."""
    folder = tmp_path_factory.mktemp("months")
    for month in (1, 2, 3):
        write_era5_month(folder, 2011, month, shape=(5, 8), hours=24, chunks=(24, 5, 8))
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("data/*.nc"))}


@pytest.fixture(scope="session")
def other_january(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """January with other weather: what replaces it."""
    return write_era5_month(
        tmp_path_factory.mktemp("other"), 2011, 1, shape=(5, 8), hours=24, chunks=(24, 5, 8), seed=1
    )


@pytest.fixture
def aws(
    cluster: Cluster, s3: S3Server, bucket: Callable[[str], str], months: dict[str, Path], tmp_path: Path
) -> Iterator[Aws]:
    url = bucket("")
    mount = url.removeprefix("s3://")
    (tmp_path / "regions.yaml").write_text(REGIONS.format(source=url, mount=mount))
    (tmp_path / "released").mkdir()
    cluster.client.run(lustre_ioctls.install, str(tmp_path / "released"))
    before = cluster.client.run(_environment, s3.environment)
    with fsx_twin(s3.client(), cluster.data[EAST]) as twin:
        twin.link(url, f"/{mount}")
        twin.link("s3://another", "/another", "fs-2")
        fsx = boto3.session.Session().client(
            "fsx", region_name=EAST, endpoint_url=twin.url, config=Config(retries={"max_attempts": 3})
        )
        lustre = FsxLustre(
            lambda region: fsx, MountAtHome(partial(compute, cluster.client), on_lustre=True), poll_seconds=0
        )
        yield Aws(
            Topology.load(tmp_path / "regions.yaml"),
            open_catalog(f"sqlite://{tmp_path}/catalog.sqlite"),
            lustre,
            twin,
            s3.client(),
            url,
            cluster.data[EAST] / mount,
            cluster.client,
            [],
        )
    for worker, old in before.items():
        cluster.client.run(_environment, old, workers=[worker])
    shutil.rmtree(cluster.data[EAST] / mount, ignore_errors=True)


def _environment(values: dict[str, str | None]) -> dict[str, str | None]:
    """Set variables of this process; what they were."""
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before


def test_the_catalog_follows_the_bucket_and_the_mount_follows_both(
    aws: Aws, months: dict[str, Path], other_january: Path
):
    for key, path in months.items():
        aws.put(key, path)
    aws.put("2011/", b"")
    assert aws.bring().files == 3
    first = aws.sync()
    assert (first.counts["added"], first.counts["quarantined"], first.as_of) == (3, 1, None)
    entry = aws.catalog.resolve(dataset="era5", times=["2011-02"], variable="air_temperature_at_2_metres")[0]
    assert entry.header is not None
    assert entry.etag == aws.s3.head_object(Bucket=aws.url[5:], Key="2011/02/data/air_temperature_at_2_metres.nc")[
        "ETag"
    ].strip('"')
    again = aws.sync()
    assert (again.generation, again.counts["unchanged"]) == (first.generation, 3), "nothing to do, no commit"

    jan, _, mar = months
    aws.delete(mar)
    aws.put(jan, other_january)
    aws.bring()
    assert (aws.mount / mar).exists(), "imports never carry deletions"
    done = aws.sync()
    assert (done.counts["changed"], done.counts["removed"], done.counts["unchanged"]) == (1, 1, 1)
    assert not (aws.mount / mar).exists()
    assert not (aws.mount / mar).parent.exists()
    assert [t.key.removeprefix(f"{aws.mount.name}/") for t in aws.catalog.tombstones("era5", EAST)] == [mar]


def test_a_sync_reads_in_the_region_and_only_small_things_cross(aws: Aws, months: dict[str, Path]):
    for key, path in months.items():
        aws.put(key, path)
    aws.bring()
    done = aws.sync()
    assert set(done.evidence.tasks_by_region) == {EAST}
    assert done.evidence.misplaced_tasks == 0


def test_what_the_import_left_out_is_quarantined_and_found_by_the_next_sync(
    aws: Aws, months: dict[str, Path], other_january: Path
):
    jan, feb, _ = months
    for key, path in months.items():
        aws.put(key, path)
    aws.twin.unreadable = lambda key: key == feb
    report = aws.bring()
    assert (report.state, report.files, report.failed) == ("FAILED", 3, 1)
    assert "1 files could not be imported" in report.detail
    done = aws.sync()
    assert {q.key.removeprefix(f"{aws.mount.name}/"): q.reason for q in done.quarantined} == {
        feb: "it is in the bucket and not on the mount: the import left it out; sync again"
    }
    aws.twin.unreadable = lambda key: False
    aws.put(jan, other_january.read_bytes() + b"longer")  # replaced in the bucket, the old one still on the mount
    done = aws.sync()
    assert "bytes on the mount and" in {q.key[-len(jan) :]: q.reason for q in done.quarantined}[jan]
    aws.bring()
    done = aws.sync()
    assert not done.quarantined
    assert aws.catalog.count(dataset="era5") == 3


def test_an_import_that_runs_already_is_waited_for_and_one_of_others_too(aws: Aws, months: dict[str, Path]):
    aws.put(next(iter(months)), next(iter(months.values())))
    fsx = aws.lustre.client_of(EAST)
    file_system = aws.twin.associations[0]["FileSystemId"]
    ours = {"Type": "IMPORT_METADATA_FROM_REPOSITORY", "FileSystemId": file_system, "Paths": [aws.url]}
    fsx.create_data_repository_task(**ours, Report={"Enabled": False}, ClientRequestToken="somebody")
    report = aws.bring()
    assert (report.files, aws.twin.created) == (1, 1), "adopted, not begun anew"

    fsx.create_data_repository_task(
        **{**ours, "Type": "RELEASE_DATA_FROM_FILESYSTEM"}, Report={"Enabled": False}, ClientRequestToken="releasing"
    )
    aws.bring()
    assert aws.twin.created == 3
    assert any("is busy with another task; waiting for it" in line for line in aws.said)
    assert any("SUCCEEDED, 1 of 1 files" in line for line in aws.said)


def test_a_request_whose_answer_is_lost_begins_one_task_only(aws: Aws, months: dict[str, Path]):
    aws.put(next(iter(months)), next(iter(months.values())))
    with proxied(aws.twin.url) as proxy:
        lost: list[int] = []

        def lose(method: str, path: str, number: int) -> str | None:
            if number == 4 and not lost:  # after two pages of associations and one of tasks
                lost.append(number)
                return "lose"
            return None

        proxy.fault = lose
        fsx = boto3.session.Session().client("fsx", region_name=EAST, endpoint_url=proxy.url)
        FsxLustre(lambda region: fsx, aws.lustre.files, poll_seconds=0).import_changes(
            aws.topology.mounts("era5", EAST)[0], aws.said.append
        )
    assert lost
    assert aws.twin.created == 1


@pytest.mark.parametrize(
    ("outcome", "said"),
    [("FAILED", r"ended as FAILED \(task .*the catalog was not changed"), ("CANCELED", "ended as CANCELED")],
)
def test_an_import_that_did_nothing_is_an_error(aws: Aws, months: dict[str, Path], outcome: str, said: str):
    aws.put(next(iter(months)), next(iter(months.values())))
    aws.twin.outcome = outcome
    with pytest.raises(XdaskError, match=said):
        aws.bring()


def test_links_that_are_missing_doubled_or_broken_are_told(aws: Aws):
    (link, *_) = aws.twin.associations
    link["Lifecycle"] = "MISCONFIGURED"
    link["FailureDetails"] = {"Message": "the bucket's policy forbids it"}
    with pytest.raises(XdaskError, match=r"is MISCONFIGURED \(the bucket's policy forbids it\)"):
        aws.bring()
    aws.twin.link(aws.url, f"/{aws.mount.name}", "fs-3")
    with pytest.raises(XdaskError, match="2 file systems in us-east-1 link"):
        aws.bring()
    del aws.twin.associations[0], aws.twin.associations[-1]
    with pytest.raises(
        XdaskError, match=r"No file system in us-east-1 links .* Available links: s3://another at /another of fs-2"
    ):
        aws.bring()


def test_a_file_system_that_exports_deletions_is_not_touched(aws: Aws, months: dict[str, Path]):
    jan = next(iter(months))
    for key, path in months.items():
        aws.put(key, path)
    aws.bring()
    aws.sync()
    aws.delete(jan)
    aws.twin.associations[0]["S3"] = {"AutoExportPolicy": {"Events": ["NEW", "DELETED"]}}
    with pytest.raises(XdaskError, match=r"exports deletions .* Remove DELETED from its AutoExportPolicy"):
        aws.sync()
    assert (aws.mount / jan).exists()
    assert aws.catalog.count(dataset="era5") == 3, "nothing was committed"


def test_a_mount_that_is_not_there_costs_no_entry(aws: Aws, months: dict[str, Path], other_january: Path):
    jan, feb, _ = months
    aws.put(jan, months[jan])
    aws.put(feb, months[feb])
    aws.bring()
    aws.sync()
    aws.put(jan, other_january)  # changed: to be read again
    away = aws.mount.with_name("away")
    aws.mount.rename(away)
    with pytest.raises(CatalogError, match=r"there is no folder .* on the workers of us-east-1; nothing was"):
        aws.sync()
    assert aws.catalog.count(dataset="era5") == 2
    away.rename(aws.mount)
    aws.bring()
    assert aws.sync().counts["changed"] == 1


def test_an_emptied_bucket_is_refused_until_a_person_accepts_the_plan(aws: Aws, months: dict[str, Path]):
    for key, path in months.items():
        aws.put(key, path)
    aws.bring()
    aws.sync()
    for key in months:
        aws.delete(key)
    with pytest.raises(SuspiciousPlan, match="is empty, and was not at the last sync") as refused:
        aws.sync()
    assert aws.catalog.count(dataset="era5") == 3
    assert (aws.mount / next(iter(months))).exists()
    aws.sync(accept=refused.value.digest)
    assert aws.catalog.count() == 0


def test_a_dry_run_changes_nothing_and_shows_the_plan(aws: Aws, months: dict[str, Path]):
    aws.put(next(iter(months)), next(iter(months.values())))
    plan = plan_place(aws.context(), PLACE)
    assert isinstance(plan, SyncPlan)
    assert plan.summary()["added"] == 1
    assert aws.catalog.generation("era5", EAST) == 0
    assert not aws.twin.created


def test_released_files_are_told_and_warmed_and_others_left_alone(aws: Aws, months: dict[str, Path], tmp_path: Path):
    from tests.support.lustre_ioctls import mark

    for key, path in months.items():
        aws.put(key, path)
    aws.put("2011/04/data/odd\nname: (0x0000000d).nc", b"odd")
    aws.bring()
    name = aws.mount.name
    os.environ["LUSTRE_RELEASED"] = str(tmp_path / "released")
    jan, feb, _ = (str(aws.mount / key) for key in months)
    for path in (jan, feb):
        mark(path).write_text("")
    keys = [f"{name}/2011"]
    before = aws.lustre.residency(EAST, keys)
    assert (before.resident_files, before.released_files) == (2, 2)
    assert before.released_bytes == Path(jan).stat().st_size + Path(feb).stat().st_size
    assert aws.lustre.warm(EAST, [f"{name}/{next(iter(months))}"], aws.said.append).released_files == 1
    assert aws.lustre.residency(EAST, keys).released_files == 1
    assert any("1 file," in line and "still to be fetched" in line for line in aws.said)
    assert any(" on the mount" in line for line in aws.said)
    del os.environ["LUSTRE_RELEASED"]


@pytest.mark.parametrize("step", STEPS)
def test_a_sync_killed_at_a_step_and_run_again_ends_as_a_clean_one(
    aws: Aws, months: dict[str, Path], s3: S3Server, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
):
    jan, feb, mar = months
    for key in (jan, feb):
        aws.put(key, months[key])
    aws.bring()
    aws.sync()
    aws.delete(jan)
    aws.put(mar, months[mar])
    aws.bring()
    before = aws.catalog.generation("era5", EAST)
    address = aws.client.scheduler.address
    regions, url = str(tmp_path / "regions.yaml"), f"sqlite://{tmp_path}/catalog.sqlite"
    command = [sys.executable, str(SUPPORT / "killed_sync.py"), address, regions, url, aws.twin.url, step]
    done = subprocess.run(command, env={**os.environ, **s3.environment}, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert aws.catalog.generation("era5", EAST) == before, "what died never was"
    assert aws.catalog.count(dataset="era5") == 2
    monkeypatch.setattr(lease_holder, "PATIENCE_SECONDS", 0.2)
    again = aws.sync()  # which waits for a sign of life of the dead one, and takes over
    assert (again.counts["added"], again.counts["removed"]) == (1, 1)

    clean = open_catalog(f"sqlite://{tmp_path}/clean.sqlite")
    sync_place(aws.context(catalog=clean), PLACE)
    ours, theirs = aws.catalog.manifest("era5", EAST), clean.manifest("era5", EAST)
    assert list(ours.objects) == list(theirs.objects)
    assert (ours.digests, ours.holdings) == (theirs.digests, theirs.holdings)
    assert not (aws.mount / jan).exists()


def test_a_sync_at_work_is_not_taken_over_however_long_it_takes(aws: Aws, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease_holder, "PATIENCE_SECONDS", 0.4)
    with lease_holder.held(aws.catalog, PLACE) as lease:
        for _ in range(2):
            with pytest.raises(StaleWriter, match=f"is being synced by {lease.owner}"):
                aws.sync()
    aws.sync()


def test_a_region_whose_file_system_is_down_has_its_buckets_as_mounts(aws: Aws, months: dict[str, Path]) -> None:
    key, path = next(iter(months.items()))
    aws.put(key, path)
    mount = aws.topology.mounts("era5", EAST)[0]

    def current() -> FsxOrBuckets:
        return FsxOrBuckets(aws.lustre, MountedBucket(aws.lustre.files))

    assert current().import_changes(mount, aws.said.append).files == 1
    links, aws.twin.associations[:] = list(aws.twin.associations), []
    created = aws.twin.created
    assert current().import_changes(mount, aws.said.append).detail == "mounted from its bucket"
    assert current().forget(EAST, [f"{mount.path}/{key}"]) == 0
    assert aws.twin.created == created
    aws.twin.associations[:] = links
    assert current().import_changes(mount, aws.said.append).files == 1
