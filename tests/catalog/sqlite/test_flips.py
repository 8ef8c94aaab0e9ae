"""Single bits that flip in the file of a SQLite catalog: found when they are read, never read as another document."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.catalog_helpers import ERA5, ERA5_PLACE, cmip6, era5, stored
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.catalog.sqlite.sqlite_seals import SEALED
from xdask_pipelines.catalog.sync import commit_sync, plan_sync
from xdask_pipelines.errors import CatalogError, MissingEntries

FLIPS = 300
OBJECTS = [
    stored(f"era5-pds/{year}/{month:02}/data/v{i:02}.nc", etag=f"{year}{month}{i}")
    for year in (2010, 2011, 2012)
    for month in range(1, 13)
    for i in range(12)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 500 entries, some superseded, some removed, of two places."""
    path = tmp_path_factory.mktemp("made") / "catalog.sqlite"
    catalog = open_catalog(f"sqlite://{path}")
    commit_sync(catalog, plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE)), {})
    members = [f"r{i}i1p1f1" for i in range(1, 31)]
    extent = (-180, -90, 180, 90)
    catalog.commit(Change([cmip6(m, version=v, extent=extent) for m in members for v in ("v20190101", "v20200101")]))
    catalog.commit(Change([], [cmip6("r30i1p1f1", version="v20190101").id]))
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path


def _answers(catalog: Catalog) -> list[Any]:
    """All that can be asked."""
    asked: list[dict[str, Any]] = [
        {},
        {"superseded": True},
        {"dataset": "era5", "variable": "v03"},
        {"dataset": "era5", "year": "2011", "month": ["03", "04"]},
        {"dataset": "era5", "time": ("2011-02", "2011-05")},
        {"dataset": "cmip6", "member_id": "r7i1p1f1"},
        {"dataset": "cmip6", "bbox": (0, 0, 10, 10)},
        {"key": OBJECTS[17].key},
    ]
    held = [catalog.manifest(**ERA5_PLACE), catalog.manifest("cmip6", "us-west-2")]
    return [
        *((catalog.search(**query), catalog.count(**query)) for query in asked),
        catalog.search(limit=20),
        catalog.facets("variable", "year", "member_id", "key", superseded=True),
        catalog.names(),
        [(m.generation, list(m.objects), m.entries, m.holdings) for m in held],
        [(t.id, t.key) for t in catalog.tombstones("cmip6", "us-west-2")],
        catalog.resolve(dataset="era5", variable="v05", time="2012"),
    ]


def test_a_bit_that_flips_anywhere_in_the_file_is_found_or_changes_nothing(made: Path, tmp_path: Path) -> None:
    wanted = _answers(open_catalog(f"sqlite://{made}"))
    sound = made.read_bytes()
    rng = random.Random(20261127)
    found, named, wrong = 0, 0, []
    for i in range(FLIPS):
        at, bit = rng.randrange(len(sound)), rng.randrange(8)
        path = tmp_path / f"{i}.sqlite"
        damaged = bytearray(sound)
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            if _answers(open_catalog(f"sqlite://{path}")) != wanted:
                wrong.append((at, bit))
        except MissingEntries:
            wrong.append((at, bit))
        except CatalogError as error:
            found += 1
            named += "xdask sync" in str(error)
        for file in tmp_path.iterdir():
            file.unlink()
    assert wrong == []
    assert found == named > FLIPS // 3


@pytest.mark.parametrize("table", [name for name in SEALED if name != "tombstones"])
def test_each_table_is_repaired_and_the_next_sync_brings_back_what_was_lost(
    made: Path, tmp_path: Path, table: str
) -> None:
    """Damage in a whole column, which SQLite itself does not notice."""
    wanted = _answers(open_catalog(f"sqlite://{made}"))
    path = tmp_path / "catalog.sqlite"
    shutil.copy(made, path)
    column = {"entries": "document", "terms": "kind", "names": "terms", "postings": "bits", "places": "generation"}.get(
        table, "rows"
    )
    with sqlite3.connect(path) as db:
        where = "WHERE dataset = 'era5' AND slot % 100 = 7" if table == "entries" else ""
        db.execute(f"UPDATE {table} SET {column} = {column} || '1' {where}")
    db.close()
    catalog = open_catalog(f"sqlite://{path}")
    with pytest.raises(CatalogError, match=r"The catalog is damaged: .* Run `xdask sync --full`"):
        _answers(catalog)
    lost = catalog.repair()
    assert lost == ({("era5", "us-east-1"): 5} if table == "entries" else {("", ""): 0})
    assert catalog.repair() == {}, "all is sound now"
    base = catalog.manifest(**ERA5_PLACE)
    plan = plan_sync([(ERA5, OBJECTS)], base)
    assert len(plan.added) == (5 if table == "entries" else 0)
    commit_sync(catalog, plan, {})
    again = _answers(catalog)
    if table == "entries":
        assert {e.key for e in again[0][0]} == {e.key for e in wanted[0][0]}
    else:
        assert again[:-3] == wanted[:-3]
    assert again[-3][0][1:] == wanted[-3][0][1:]
    assert not catalog.manifest(**ERA5_PLACE).lost_entries


def test_a_sound_file_needs_no_repair_and_one_that_is_not_there_is_not_made(made: Path, tmp_path: Path) -> None:
    assert open_catalog(f"sqlite://{made}").repair() == {}
    assert open_catalog(f"sqlite://{tmp_path}/none.sqlite").repair() == {}
    assert list(tmp_path.iterdir()) == []


def test_an_error_names_the_entry_that_is_damaged(tmp_path: Path) -> None:
    catalog = open_catalog(f"sqlite://{tmp_path}/c.sqlite")
    catalog.commit(Change([era5("2011-01"), era5("2011-02")], manifest=ManifestChange(put=[stored("a")]), **ERA5_PLACE))
    with sqlite3.connect(tmp_path / "c.sqlite") as db:
        db.execute("UPDATE entries SET document = replace(document, '100', '900') WHERE key LIKE '%/02/%'")
    db.close()
    with pytest.raises(
        CatalogError,
        match=r"the entry era5 us-east-1:era5-pds/2011/02/data/air_temperature\.nc in its file is not what",
    ):
        catalog.search()
    assert len(catalog.search(month="01")) == 1, "others can be read"


def test_commits_count_on_from_the_places_where_the_counter_was_damaged(tmp_path: Path) -> None:
    catalog = open_catalog(f"sqlite://{tmp_path}/c.sqlite")
    for month in ("2011-01", "2011-02", "2011-03"):
        catalog.commit(Change([era5(month)]))
    with sqlite3.connect(tmp_path / "c.sqlite") as db:
        db.execute("UPDATE counter SET generation = 1")
    db.close()
    assert catalog.commit(Change([era5("2011-04")])) == 4
