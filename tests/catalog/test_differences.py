"""Comparing as little as it takes gives what comparing everything gives."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.catalog_helpers import ERA5, era5, plan, stored, write
from xdask_pipelines.catalog import Change, open_catalog
from xdask_pipelines.catalog.layouts import fingerprint
from xdask_pipelines.catalog.manifest.differences import differences, of_everything, of_what_changed
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects
from xdask_pipelines.catalog.sqlite.sqlite_schema import _SINCE_3
from xdask_pipelines.catalog.sync import commit_sync, plan_sync
from xdask_pipelines.topology.mount import Mount

PLACE = {"dataset": "era5", "region": "us-east-1"}
#: Good paths, a path of no entry, an ignored file, a folder, a damaged month, and a file with an unusable name.
PATHS = (
    *(f"era5-pds/{year}/{month:02}/data/t.nc" for year in (2011, 2012) for month in (1, 2)),
    *("era5-pds/notes.txt", "era5-pds/2011/01/main.nc", "era5-pds/2011/", "era5-pds/2011/13/data/t.nc"),
)
#: Stores beside and in one another, halves of stores, and what belongs to none.
STORES = Mount(dataset="era5", region="us-east-1", layout="arco-zarr", path="arco")
STORED = (
    *(f"arco/{s}/{name}" for s in ("a", "a/b", "a-c") for name in (".zmetadata", "zarr.json", "t/zarr.json", "t/0")),
    *("arco/notes.txt", "arco/.zgroup", "arco/a/"),
)


def some(paths: tuple[str, ...]) -> st.SearchStrategy[dict[str, tuple[int, str]]]:
    content = st.tuples(st.integers(0, 2), st.sampled_from("ab"))
    return st.fixed_dictionaries({}, optional=dict.fromkeys(paths, content))


#: Two nights of a mount, the second at times nearly the first, and what could not be read after the first.
NIGHTS = st.sampled_from([(ERA5, PATHS), (STORES, STORED)]).flatmap(
    lambda mount: st.tuples(
        st.just(mount[0]), some(mount[1]), some(mount[1]), st.booleans(), st.sets(st.integers(0, 3))
    )
)


def listing(found: dict[str, tuple[int, str]], problem: bool) -> list[StoredObject]:
    objects = [StoredObject(key, size, etag, 7, "") for key, (size, etag) in found.items()]
    if problem:
        objects.append(StoredObject("era5-pds/2013/01/data/t.nc", 0, "", 0, "it cannot be read"))
    return sorted(objects)


@settings(max_examples=200, deadline=None)
@given(nights=NIGHTS, problem=st.booleans())
def test_looking_at_what_changed_finds_what_looking_at_all_finds(
    tmp_path_factory: pytest.TempPathFactory,
    nights: tuple[Mount, dict[str, tuple[int, str]], dict[str, tuple[int, str]], bool, set[int]],
    problem: bool,
):
    mount, first, second, similar, rejected = nights
    catalog = open_catalog(f"sqlite://{tmp_path_factory.mktemp('catalog')}/catalog.sqlite")
    made = plan_sync([(mount, listing(first, problem))], catalog.manifest(**PLACE))
    bad = {entry.id: "unreadable" for i, entry in enumerate(made.to_describe) if i in rejected}
    commit_sync(catalog, made, {}, rejected=bad)
    committed = catalog.manifest(**PLACE)
    found = {entry.key for entry in catalog.search(superseded=True)}
    assert all(any(f"{item.key}/".startswith(f"{key}/") for key in found) for item in committed.objects)
    if similar:
        second = {**first, **dict(list(second.items())[:2])}
    mounts = [(mount, PackedObjects.of(listing(second, not problem)))]
    holdings = fingerprint([mount])
    little = of_what_changed(mounts, committed, holdings)
    much = of_everything(mounts, committed, holdings)

    def seen(found):
        ids = [sorted(entry.id for entry in group) for group in (found.added, found.changed)]
        rest = (found.removed, found.unchanged, found.quarantined, list(found.put), sorted(found.drop), found.gone)
        return (*ids, *rest, found.known, found.state)

    assert seen(little) == seen(much)


def test_a_file_that_could_not_be_read_is_tried_again_though_it_did_not_change(tmp_path: Path):
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    for month in (1, 2):
        write(tmp_path / "root", f"era5-pds/2011/{month:02}/data/t.nc", b"x")
    made = plan(catalog, tmp_path / "root")
    generation = commit_sync(catalog, made, {}, rejected={made.added[0].id: "damaged"})
    for _ in range(2):
        again = plan(catalog, tmp_path / "root")
        assert [entry.key[-17:] for entry in again.to_describe] == ["2011/01/data/t.nc"]
        assert commit_sync(catalog, again, {}, rejected={again.added[0].id: "damaged"}) == generation, (
            "no commit a night"
        )
    assert commit_sync(catalog, again, {}) > generation
    assert plan(catalog, tmp_path / "root").nothing_to_do


def test_of_stores_only_those_are_looked_at_in_which_something_changed(tmp_path: Path):
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    names = [f"arco/{s}/{name}" for s in ("a", "b", "c") for name in ("t/0", "zarr.json", "t/zarr.json")]
    objects = [stored(key) for key in sorted([*names, "arco/a/", "arco/notes.txt"])]
    first = plan_sync([(STORES, objects)], catalog.manifest(**PLACE))
    commit_sync(catalog, first, {})
    same = plan_sync([(STORES, objects)], catalog.manifest(**PLACE))
    assert (same.nothing_to_do, same.unchanged, same.quarantined) == (True, 3, first.quarantined)
    assert [item.key for item in same.found.listed] == ["arco/notes.txt"]
    now = [stored("arco/b/t/0", etag="new") if item.key == "arco/b/t/0" else item for item in objects]
    news = plan_sync([(STORES, now)], catalog.manifest(**PLACE))
    assert ([entry.key for entry in news.changed], news.unchanged) == (["arco/b"], 2)
    assert {item.key.rpartition("/t/")[0] for item in news.found.listed} <= {"arco/b", ""}
    assert [item.key for item in news.manifest.put] == ["arco/b/t/0"]


def test_another_description_of_the_mount_looks_at_everything_once(tmp_path: Path):
    catalog = open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")
    objects = [stored(f"era5-pds/2011/{month:02}/data/t.nc") for month in range(1, 13)]
    commit_sync(catalog, plan_sync([(ERA5, objects)], catalog.manifest(**PLACE)), {})
    excluded = Mount(**{**ERA5.__dict__, "exclude": frozenset({"2011/03/data/t.nc"})})
    made = plan_sync([(excluded, objects)], catalog.manifest(**PLACE))
    assert (len(made.removed), made.unchanged, made.redescribed) == (1, 11, True)
    assert made.gone == (), "what is excluded is there: nothing is to be removed from a mount"
    commit_sync(catalog, made, {})
    after = catalog.manifest(**PLACE)
    found = differences([(excluded, PackedObjects.of(objects))], after)
    assert (found.unchanged, found.removed, len(found.quarantined)) == (11, (), 1)


def _back_to_version(number: int, path: Path, objects: list[StoredObject]) -> None:
    """Make a file one of an older version, which had fewer tables and columns."""
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE names")
        for table, columns in _SINCE_3.items():
            for column in columns:
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column.partition(' ')[0]}")
        if number == 1:
            db.execute("ALTER TABLE places DROP COLUMN holdings")
            db.execute("DROP TABLE manifest")
            db.execute("CREATE TABLE manifest (dataset, region, key, size_bytes, etag, modified_ns)")
            rows = [(*PLACE.values(), item.key, item.size_bytes, item.etag, item.modified_ns) for item in objects]
            db.executemany("INSERT INTO manifest VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.execute(f"PRAGMA user_version = {number}")
    db.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_catalog_of_a_version_before_is_read_and_becomes_one_of_this_version(tmp_path: Path, version: int):
    url = f"sqlite://{tmp_path}/catalog.sqlite"
    objects = [stored(f"era5-pds/2011/{month:02}/data/t.nc") for month in range(1, 13)]
    catalog = open_catalog(url)
    commit_sync(catalog, plan_sync([(ERA5, objects)], catalog.manifest(**PLACE)), {})
    before = catalog.search(), catalog.facets(), catalog.names()
    _back_to_version(version, tmp_path / "catalog.sqlite", objects)
    old = open_catalog(url)
    assert old.count(**PLACE) == 12
    assert (old.search(), old.facets(), old.names()) == before
    assert not old.manifest(**PLACE).lost_entries, "it was not counted"
    made = plan_sync([(ERA5, objects)], old.manifest(**PLACE))
    assert (made.unchanged, made.redescribed) == (12, version == 1)
    commit_sync(old, made, {})
    assert plan_sync([(ERA5, objects)], old.manifest(**PLACE)).nothing_to_do
    old.commit(Change([era5("2012-01")], **PLACE))
    assert old.manifest(**PLACE).written_entries == 13
