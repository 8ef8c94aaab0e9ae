"""Sync: what a plan finds, what it refuses, and that a commit is whole or nothing, even when killed."""

import multiprocessing
import os
import pickle
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.support.catalog_helpers import CMIP6, ERA5, plan, stored, write
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.catalog.sync import commit_sync, plan_sync
from xdask_pipelines.errors import CatalogError, StaleWriter, SuspiciousPlan
from xdask_pipelines.topology.mount import Mount

SPAWN = multiprocessing.get_context("spawn")
PLACE = {"dataset": "era5", "region": "us-east-1"}
DRS = "cmip6/CMIP/MOHC/UKESM1-0-LL/historical/r1i1p1f2/Amon/tas/gn/v20190406"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve months of one variable."""
    for month in range(1, 13):
        write(tmp_path / "root", f"era5-pds/2011/{month:02}/data/t.nc", f"month {month}".encode())
    return tmp_path / "root"


def month(root: Path, number: int) -> Path:
    return root / f"era5-pds/2011/{number:02}/data/t.nc"


def sync(catalog: Catalog, root: Path, mount: Mount = ERA5) -> int:
    made = plan(catalog, root, mount)
    return commit_sync(catalog, made, {entry.id: {"read": entry.etag} for entry in made.to_describe})


def test_the_first_sync_adds_everything_and_the_second_does_nothing(catalog: Catalog, root: Path):
    first = plan(catalog, root)
    assert first.summary() == {
        "added": 12,
        "changed": 0,
        "removed": 0,
        "unchanged": 0,
        "quarantined": 0,
        "bytes_to_read": sum(len(f"month {m}") for m in range(1, 13)),
    }
    generation = sync(catalog, root)
    assert catalog.count(dataset="era5") == 12
    assert catalog.search(month="07")[0].header == {"read": catalog.search(month="07")[0].etag}
    again = plan(catalog, root)
    assert again.nothing_to_do
    assert again.unchanged == 12
    assert commit_sync(catalog, again, {}) == generation == catalog.generation(**PLACE), "no new generation"


def test_only_new_and_changed_files_are_to_be_read(catalog: Catalog, root: Path):
    sync(catalog, root)
    write(root, "era5-pds/2012/01/data/t.nc")
    month(root, 3).write_bytes(b"one kelvin warmer")
    month(root, 5).unlink()
    made = plan(catalog, root)
    assert [entry.key[-17:] for entry in made.added] == ["2012/01/data/t.nc"]
    assert [entry.key[-17:] for entry in made.changed] == ["2011/03/data/t.nc"]
    assert (made.unchanged, len(made.removed)) == (10, 1)
    before = catalog.search(month="03")[0].etag
    commit_sync(catalog, made, {})
    assert catalog.search(month="03", year="2011")[0].etag != before
    assert catalog.search(month="03", year="2011")[0].header is None, "an old header must not outlive its file"
    assert [stone.key for stone in catalog.tombstones(**PLACE)] == ["era5-pds/2011/05/data/t.nc"]
    assert catalog.count() == 12


def test_a_file_that_was_only_touched_keeps_its_digest_and_is_noticed(catalog: Catalog, root: Path):
    sync(catalog, root)
    etag = catalog.search(month="03")[0].etag
    os.utime(month(root, 3))
    assert len(plan(catalog, root).changed) == 1
    sync(catalog, root)
    assert catalog.search(month="03")[0].etag == etag


def test_a_changed_description_of_the_dataset_reaches_unchanged_files(catalog: Catalog, root: Path):
    sync(catalog, root)
    excerpt = Mount(**{**ERA5.__dict__, "excerpt": True, "attributes": {"license": "CC-BY-4.0"}})
    made = plan(catalog, root, excerpt)
    assert len(made.changed) == 12
    commit_sync(catalog, made, {})
    assert all(entry.excerpt for entry in catalog.search(license="CC-BY-4.0"))
    retracted = Mount(**{**excerpt.__dict__, "exclude": frozenset({"2011/03/data/t.nc"})})
    assert len(plan(catalog, root, retracted).removed) == 1


def test_several_mounts_of_one_dataset_are_one_sync(catalog: Catalog, tmp_path: Path):
    for activity in ("CMIP", "ScenarioMIP"):
        write(tmp_path, f"{DRS.replace('CMIP/', activity + '/', 1)}/.zmetadata")
    from xdask_pipelines.catalog.manifest.listing import list_folder

    mounts = [
        Mount(dataset="cmip6", region="r", layout="cmip6-pds", path=f"cmip6/{a}") for a in ("CMIP", "ScenarioMIP")
    ]
    made = plan_sync([(h, list_folder(tmp_path, h.path, {})) for h in mounts], catalog.manifest("cmip6", "r"))
    commit_sync(catalog, made, {})
    assert set(catalog.facets("activity_id")["activity_id"]) == {"CMIP", "ScenarioMIP"}
    with pytest.raises(CatalogError, match="mounts of one dataset in one Region"):
        plan_sync([(mounts[0], []), (ERA5, [])], catalog.manifest("cmip6", "r"))


def test_what_is_quarantined_is_reported_and_never_fatal(catalog: Catalog, root: Path):
    write(root, "era5-pds/notes.txt")
    made = plan(catalog, root)
    assert [item.key for item in made.quarantined] == ["era5-pds/notes.txt"]
    commit_sync(catalog, made, {})
    assert plan(catalog, root).nothing_to_do
    assert len(plan(catalog, root).quarantined) == 1


# --- guard rails ------------------------------------------------------------------------------------------------


def test_an_empty_mount_is_refused_while_the_catalog_knows_its_files(catalog: Catalog, root: Path):
    sync(catalog, root)
    shutil.rmtree(root / "era5-pds")
    with pytest.raises(CatalogError, match="cannot be listed, because the folder"):
        plan(catalog, root)
    (root / "era5-pds").mkdir()
    with pytest.raises(SuspiciousPlan, match="era5-pds is empty, and was not at the last sync"):
        plan(catalog, root)
    assert catalog.count() == 12


def test_an_empty_mount_is_fine_for_a_dataset_without_files_yet(catalog: Catalog, tmp_path: Path):
    (tmp_path / "era5-pds").mkdir()
    assert plan(catalog, tmp_path).nothing_to_do


def test_mass_deletion_is_refused_until_exactly_that_plan_is_accepted(catalog: Catalog, root: Path):
    sync(catalog, root)
    for number in range(1, 12):
        month(root, number).unlink()
    with pytest.raises(SuspiciousPlan, match="11 of 12 entries would be removed") as caught:
        plan(catalog, root)
    digest = caught.value.digest
    assert str(caught.value).endswith(f"accept the plan: `xdask sync era5 --accept {digest}`")
    with pytest.raises(SuspiciousPlan, match="`xdask sync --full era5 --accept"):
        plan(catalog, root, full=True)
    with pytest.raises(SuspiciousPlan, match="The accepted plan was another one"):
        plan(catalog, root, accept="0" * 32)
    write(root, "era5-pds/2012/01/data/t.nc")
    with pytest.raises(SuspiciousPlan, match="The accepted plan was another one"):
        plan(catalog, root, accept=digest)
    (root / "era5-pds/2012/01/data/t.nc").unlink()
    commit_sync(catalog, plan(catalog, root, accept=digest), {})
    assert catalog.count() == 1


def test_ten_removals_pass_and_so_does_a_fifth_of_many(catalog: Catalog, root: Path):
    sync(catalog, root)
    for number in range(1, 11):
        month(root, number).unlink()
    assert len(plan(catalog, root).removed) == 10


def test_chunks_that_vanish_from_a_store_that_stays_are_suspicious(catalog: Catalog, tmp_path: Path):
    for name in (".zmetadata", ".zgroup", *(f"tas/{i}.0.0" for i in range(30))):
        write(tmp_path, f"{DRS}/{name}", name.encode())
    sync(catalog, tmp_path, CMIP6)
    for i in range(10):
        (tmp_path / DRS / f"tas/{i}.0.0").unlink()
    assert len(plan(catalog, tmp_path, CMIP6).changed) == 1
    (tmp_path / DRS / "tas/10.0.0").unlink()
    with pytest.raises(SuspiciousPlan, match="11 of 32 objects would be removed from within entries that stay"):
        plan(catalog, tmp_path, CMIP6)


def test_a_listing_that_is_not_sorted_is_refused(catalog: Catalog):
    keys = ["era5-pds/2011/02/data/t.nc", "era5-pds/2011/01/data/t.nc"]
    with pytest.raises(CatalogError, match="is not sorted or has a key twice"):
        plan_sync([(ERA5, [stored(key) for key in keys])], catalog.manifest(**PLACE))
    with pytest.raises(CatalogError, match="is not sorted or has a key twice"):
        plan_sync([(ERA5, [stored(keys[0])] * 2)], catalog.manifest(**PLACE))


# --- commits ----------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_left_out_and_tried_again_next_time(catalog: Catalog, root: Path):
    made = plan(catalog, root)
    truncated = made.added[3]
    commit_sync(catalog, made, {}, rejected={truncated.id: "truncated"})
    assert catalog.count() == 11
    again = plan(catalog, root)
    assert [entry.id for entry in again.added] == [truncated.id]
    generation = commit_sync(catalog, again, {}, rejected={truncated.id: "still truncated"})
    assert generation == catalog.generation(**PLACE) == made.base_generation + 1, "nothing new, no commit"
    commit_sync(catalog, again, {truncated.id: {}})
    assert catalog.count() == 12


def test_a_file_that_became_unreadable_leaves_the_catalog(catalog: Catalog, root: Path):
    sync(catalog, root)
    month(root, 3).write_bytes(b"truncat")
    made = plan(catalog, root)
    commit_sync(catalog, made, {}, rejected={made.changed[0].id: "truncated"})
    assert catalog.count(month="03") == 0
    assert len(plan(catalog, root).added) == 1


def test_a_manifest_change_alone_is_a_commit(catalog: Catalog):
    assert catalog.commit(Change(manifest=ManifestChange(put=[stored("a")]), **PLACE)) == 1
    assert list(catalog.manifest(**PLACE).objects) == [stored("a")]


def test_many_entries_whose_changed_files_cannot_be_read_are_refused_as_a_mass_deletion_is(
    catalog: Catalog, root: Path
):
    sync(catalog, root)
    for number in range(1, 12):
        month(root, number).write_bytes(b"truncat")
    month(root, 12).unlink()
    made = plan(catalog, root)
    bad = {entry.id: "truncated" for entry in made.changed}
    said = (
        r"11 of 12 entries changed and cannot be read now, and the files of 1 more are gone\. "
        r"The first: .*t.nc: truncated"
    )
    with pytest.raises(SuspiciousPlan, match=said):
        commit_sync(catalog, made, {}, rejected=bad)
    assert catalog.count() == 12
    few = dict(list(bad.items())[:9])
    commit_sync(catalog, made, {}, rejected=few)
    assert catalog.count() == 2, "ten may go"


def test_an_accepted_plan_passes_whatever_cannot_be_read(catalog: Catalog, root: Path):
    sync(catalog, root)
    for number in range(1, 12):
        month(root, number).write_bytes(b"truncat")
    made = plan(catalog, root)
    commit_sync(catalog, made, {}, rejected={entry.id: "truncated" for entry in made.changed}, accept=made.digest)
    assert catalog.count() == 1


def test_headers_of_other_entries_are_refused(catalog: Catalog, root: Path):
    with pytest.raises(CatalogError, match="Not among the entries of this plan"):
        commit_sync(catalog, plan(catalog, root), {"0" * 32: {}})


def test_of_two_syncs_at_once_one_commits_and_the_other_writes_nothing(catalog: Catalog, root: Path):
    one, two = plan(catalog, root), plan(catalog, root)
    commit_sync(catalog, one, {})
    with pytest.raises(StaleWriter, match="another commit came first"):
        commit_sync(catalog, two, {})
    assert plan(catalog, root).nothing_to_do


def test_counts_that_do_not_agree_stop_the_commit(catalog: Catalog, root: Path):
    made = plan(catalog, root)
    wrong = type(made)(**{**made.__dict__, "unchanged": 5})
    with pytest.raises(CatalogError, match=r"would have 12 entries, but 17 were listed\. Nothing was written"):
        commit_sync(catalog, wrong, {})
    assert catalog.count() == 0
    assert list(catalog.manifest(**PLACE).objects) == []


def test_a_lease_ends_with_the_sync_also_when_there_is_nothing_to_do(catalog: Catalog, root: Path):
    for owner in ("one", "two", "three"):
        lease = catalog.lease(owner=owner, **PLACE)
        commit_sync(catalog, plan(catalog, root), {}, lease=lease)


def test_a_plan_crosses_to_another_process(catalog: Catalog, root: Path):
    made = plan(catalog, root)
    assert pickle.loads(pickle.dumps(made)) == made
    sync(catalog, root)
    (root / "empty" / "era5-pds").mkdir(parents=True)
    with pytest.raises(SuspiciousPlan) as caught:
        plan(catalog, root / "empty")
    assert pickle.loads(pickle.dumps(caught.value)).digest == caught.value.details["digest"]


def _sync_until_killed(address: str, root: Path, ready: str) -> None:
    """Sync again and again, one file changed each time, so that a kill may fall at any point."""
    catalog, turn = open_catalog(address), 0
    while True:
        turn += 1
        month(root, turn % 12 + 1).write_bytes(f"turn {turn}".encode())
        try:
            lease = catalog.lease(owner=f"{os.getpid()}", **PLACE)
        except StaleWriter:
            continue
        commit_sync(catalog, plan(catalog, root), {}, lease=lease)
        Path(ready).touch()


def test_a_sync_killed_at_any_point_leaves_a_whole_catalog_and_the_next_one_equals_a_clean_one(
    tmp_path: Path, root: Path
):
    address = f"sqlite://{tmp_path}/killed.sqlite"
    for attempt in range(4):
        ready = tmp_path / f"ready{attempt}"
        process = SPAWN.Process(target=_sync_until_killed, args=(address, root, str(ready)))
        process.start()
        deadline = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.011 * attempt)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        seen = open_catalog(address)
        committed = seen.manifest(**PLACE)
        assert committed.digests == {e.id: e.digest for e in seen.search(dataset="era5")}, "entries and digests agree"
        by_key = {item.key: item.etag for item in committed.objects}
        assert by_key == {e.key: e.etag for e in seen.search(dataset="era5")}, "manifest and entries are of one commit"

    survivor = open_catalog(address)
    for _ in range(2):  # the first request may find the dead one's lease, the second takes over
        try:
            lease = survivor.lease(owner="survivor", **PLACE)
        except StaleWriter:
            continue
    commit_sync(survivor, plan(survivor, root), {}, lease=lease)
    clean = open_catalog(f"sqlite://{tmp_path}/clean.sqlite")
    sync(clean, root)
    assert survivor.manifest(**PLACE).digests == clean.manifest(**PLACE).digests
    assert list(survivor.manifest(**PLACE).objects) == list(clean.manifest(**PLACE).objects)
    assert survivor.facets() == clean.facets()
    assert [e.to_json() for e in survivor.search()] != []
