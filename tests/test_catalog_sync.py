"""Sync: what a plan finds, what it refuses, and that a commit is whole or nothing, even when killed."""

import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from catalog_helpers import CMIP6, ERA5, era5, plan, stored, write
from machines import machine

from xdask_pipelines.catalog import Catalog, ManifestChange, open_catalog
from xdask_pipelines.catalog.layouts import Holding
from xdask_pipelines.catalog.sync import commit_sync, plan_sync
from xdask_pipelines.errors import CatalogError, StaleWriter, SuspiciousPlan

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


def sync(catalog: Catalog, root: Path, holding: Holding = ERA5) -> int:
    made = plan(catalog, root, holding)
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
    excerpt = Holding(**{**ERA5.__dict__, "excerpt": True, "attributes": {"license": "CC-BY-4.0"}})
    made = plan(catalog, root, excerpt)
    assert len(made.changed) == 12
    commit_sync(catalog, made, {})
    assert all(entry.excerpt for entry in catalog.search(license="CC-BY-4.0"))
    retracted = Holding(**{**excerpt.__dict__, "exclude": frozenset({"2011/03/data/t.nc"})})
    assert len(plan(catalog, root, retracted).removed) == 1


def test_several_mounts_of_one_dataset_are_one_sync(catalog: Catalog, tmp_path: Path):
    for activity in ("CMIP", "ScenarioMIP"):
        write(tmp_path, f"{DRS.replace('CMIP/', activity + '/', 1)}/.zmetadata")
    from xdask_pipelines.catalog.listing import list_folder

    mounts = [
        Holding(dataset="cmip6", region="r", layout="cmip6-pds", mount=f"cmip6/{a}") for a in ("CMIP", "ScenarioMIP")
    ]
    made = plan_sync([(h, list_folder(tmp_path, h.mount, {})) for h in mounts], catalog.manifest("cmip6", "r"))
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
    with pytest.raises(CatalogError, match="There is no folder"):
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
    digest = caught.value.details["digest"]
    assert digest in str(caught.value)
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
    with pytest.raises(CatalogError, match="is not sorted, each key once"):
        plan_sync([(ERA5, [stored(key) for key in keys])], catalog.manifest(**PLACE))
    with pytest.raises(CatalogError, match="is not sorted, each key once"):
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


def test_headers_of_other_entries_are_refused(catalog: Catalog, root: Path):
    with pytest.raises(CatalogError, match="Not among the entries of this plan"):
        commit_sync(catalog, plan(catalog, root), {"0" * 32: {}})


def test_of_two_syncs_at_once_one_commits_and_the_other_writes_nothing(catalog: Catalog, root: Path):
    one, two = plan(catalog, root), plan(catalog, root)
    commit_sync(catalog, one, {})
    with pytest.raises(StaleWriter, match="another one came first"):
        commit_sync(catalog, two, {})
    assert plan(catalog, root).nothing_to_do


def test_counts_that_do_not_agree_stop_the_commit(catalog: Catalog, root: Path):
    made = plan(catalog, root)
    wrong = type(made)(**{**made.__dict__, "unchanged": 5})
    with pytest.raises(CatalogError, match="would hold 12 entries where 17 were listed; nothing was written"):
        commit_sync(catalog, wrong, {})
    assert catalog.count() == 0
    assert catalog.manifest(**PLACE).objects == ()


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
    assert survivor.manifest(**PLACE).objects == clean.manifest(**PLACE).objects
    assert survivor.facets() == clean.facets()
    assert [e.to_json() for e in survivor.search()] != []


# --- the file ---------------------------------------------------------------------------------------------------


def test_an_empty_file_is_an_empty_catalog_and_can_be_written(tmp_path: Path):
    (tmp_path / "c.sqlite").touch()
    catalog = open_catalog(f"sqlite://{tmp_path}/c.sqlite")
    assert catalog.search() == []
    catalog.apply([era5("2011-01")])
    assert catalog.count() == 1


def test_a_catalog_deleted_under_a_reader_is_seen_as_empty_and_made_again(catalog: Catalog, tmp_path: Path):
    catalog.apply([era5("2011-01")])
    for file in tmp_path.glob("catalog.sqlite*"):
        file.unlink()
    assert catalog.search() == []
    catalog.apply([era5("2011-02"), era5("2011-03")])
    assert catalog.count() == 2


def test_a_file_that_is_no_catalog_is_refused_in_words(tmp_path: Path):
    (tmp_path / "c.sqlite").write_bytes(b"not a database at all" * 100)
    catalog = open_catalog(f"sqlite://{tmp_path}/c.sqlite")
    for use in (catalog.search, lambda: catalog.apply([era5("2011-01")])):
        with pytest.raises(CatalogError, match=r"file is not a database.*Move the file away and run xdask sync"):
            use()


def test_another_version_s_catalog_is_refused_in_words(tmp_path: Path):
    for statement in ("PRAGMA user_version = 99", "CREATE TABLE other (x)"):
        path = tmp_path / f"{len(statement)}.sqlite"
        with sqlite3.connect(path) as db:
            db.execute(statement)
        for use in (
            open_catalog(f"sqlite://{path}").search,
            lambda p=path: open_catalog(f"sqlite://{p}").apply([era5("2011-01")]),
        ):
            with pytest.raises(CatalogError, match="is not a catalog of this version"):
                use()


def test_a_full_disk_stops_the_commit_with_words_and_nothing_half_written(catalog: Catalog, tmp_path: Path):
    catalog.apply([era5("2011-01")])
    file = catalog._backend._file  # type: ignore[attr-defined]
    db = file._connection("rwc")
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(CatalogError, match=r"cannot be written: .*full; nothing was changed\. To mend: make room"):
        catalog.apply([era5("2011-02", key=f"k/{i}") for i in range(500)])
    assert catalog.count() == 1
    db.execute("PRAGMA max_page_count = 1000000")
    catalog.apply([era5("2011-02")])
    assert catalog.count() == 2


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path):
    (tmp_path / "var").write_text("a file where a folder should be")
    catalog = open_catalog(f"sqlite://{tmp_path}/var/catalog.sqlite")
    assert catalog.search() == []
    with pytest.raises(CatalogError, match="cannot be written"):
        catalog.apply([era5("2011-01")])


READ_AND_WRITE = """
import sys
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.errors import CatalogError
catalog = open_catalog("sqlite://" + sys.argv[1])
print(catalog.count())
try:
    catalog.apply([], [entry.id for entry in catalog.search()])
except CatalogError as error:
    print(error)
"""


def test_a_catalog_on_a_read_only_disk_can_be_read_and_says_that_it_cannot_be_written(tmp_path: Path):
    folder = tmp_path / "var"
    writer = SPAWN.Process(target=_write_one, args=(f"sqlite://{folder}/c.sqlite",))
    writer.start()
    writer.join()
    command = [*machine(fixed=[folder]), sys.executable, "-c", READ_AND_WRITE, f"{folder}/c.sqlite"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    count, words = done.stdout.splitlines()
    assert count == "1"
    assert "cannot be written" in words
    assert "make the file and its folder writable" in words


def _write_one(address: str) -> None:
    open_catalog(address).apply([era5("2011-01")])


@pytest.mark.parametrize("url", ["", "catalog.sqlite", "sqlite://relative/path", "postgres:///x", "sqlite:"])
def test_an_address_of_no_known_kind_is_refused_with_an_example(url: str):
    with pytest.raises(CatalogError, match=r"write sqlite:///absolute/path/catalog.sqlite"):
        open_catalog(url)


def test_both_ways_to_write_an_absolute_address_mean_the_same_file(tmp_path: Path):
    open_catalog(f"sqlite://{tmp_path}/c.sqlite").apply([era5("2011-01")])
    assert open_catalog(f"sqlite:///{tmp_path}/c.sqlite").count() == 1


def test_a_catalog_on_a_network_disk_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("xdask_pipelines.catalog.sqlite_file._file_system", lambda path: "nfs4")
    with pytest.raises(CatalogError, match=r"would lie on a network file system .nfs4.*put it on a local disk"):
        open_catalog(f"sqlite://{tmp_path}/c.sqlite").apply([era5("2011-01")])


def test_a_manifest_change_alone_is_a_commit(catalog: Catalog):
    assert catalog.apply(manifest=ManifestChange(put=[stored("a")]), **PLACE) == 1
    assert list(catalog.manifest(**PLACE).objects) == [stored("a")]


def test_the_kind_of_a_file_system_is_read_from_the_machine():
    from xdask_pipelines.catalog.sqlite_file import _file_system

    assert _file_system(Path("/proc/self/status")) == "proc"
