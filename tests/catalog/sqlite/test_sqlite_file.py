"""The file of a SQLite catalog: what it may be, where it may lie, and words for what is wrong with it."""

import multiprocessing
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.catalog_helpers import era5
from tests.support.machines import machine
from xdask_pipelines.catalog import Catalog, Change, open_catalog
from xdask_pipelines.catalog.sqlite.sqlite_file import file_system
from xdask_pipelines.errors import CatalogError

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")


def test_an_empty_file_is_an_empty_catalog_and_can_be_written(tmp_path: Path):
    (tmp_path / "c.sqlite").touch()
    catalog = open_catalog(f"sqlite://{tmp_path}/c.sqlite")
    assert catalog.search() == []
    catalog.commit(Change([era5("2011-01")]))
    assert catalog.count() == 1


def test_a_catalog_deleted_under_a_reader_is_seen_as_empty_and_made_again(catalog: Catalog, tmp_path: Path):
    catalog.commit(Change([era5("2011-01")]))
    for file in tmp_path.glob("catalog.sqlite*"):
        file.unlink()
    assert catalog.search() == []
    catalog.commit(Change([era5("2011-02"), era5("2011-03")]))
    assert catalog.count() == 2


def test_a_file_that_is_no_catalog_is_refused_in_words(tmp_path: Path):
    (tmp_path / "c.sqlite").write_bytes(b"not a database at all" * 100)
    catalog = open_catalog(f"sqlite://{tmp_path}/c.sqlite")
    for use in (catalog.search, lambda: catalog.commit(Change([era5("2011-01")]))):
        with pytest.raises(CatalogError, match=r"file is not a database.*move it away and run xdask sync"):
            use()


def test_another_version_s_catalog_is_refused_in_words(tmp_path: Path):
    for statement in ("PRAGMA user_version = 99", "CREATE TABLE other (x)"):
        path = tmp_path / f"{len(statement)}.sqlite"
        with sqlite3.connect(path) as db:
            db.execute(statement)
        for use in (
            open_catalog(f"sqlite://{path}").search,
            lambda p=path: open_catalog(f"sqlite://{p}").commit(Change([era5("2011-01")])),
        ):
            with pytest.raises(CatalogError, match="is not a catalog of this version"):
                use()


def test_a_full_disk_stops_the_commit_with_words_and_nothing_half_written(catalog: Catalog, tmp_path: Path):
    catalog.commit(Change([era5("2011-01")]))
    file = catalog.backend.file  # type: ignore[attr-defined]
    db = file._connection("rwc")
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(CatalogError, match=r"cannot be written: .*full; nothing was changed\. To fix it: make room"):
        catalog.commit(Change([era5("2011-02", key=f"k/{i}") for i in range(500)]))
    assert catalog.count() == 1
    db.execute("PRAGMA max_page_count = 1000000")
    catalog.commit(Change([era5("2011-02")]))
    assert catalog.count() == 2


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path):
    (tmp_path / "var").write_text("a file where a folder should be")
    catalog = open_catalog(f"sqlite://{tmp_path}/var/catalog.sqlite")
    assert catalog.search() == []
    with pytest.raises(CatalogError, match="cannot be written"):
        catalog.commit(Change([era5("2011-01")]))


READ_AND_WRITE = """
import sys
from xdask_pipelines.catalog import Change, open_catalog
from xdask_pipelines.errors import CatalogError
catalog = open_catalog("sqlite://" + sys.argv[1])
print(catalog.count())
try:
    catalog.commit(Change([], [entry.id for entry in catalog.search()]))
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
    open_catalog(address).commit(Change([era5("2011-01")]))


@pytest.mark.parametrize("url", ["", "catalog.sqlite", "sqlite://relative/path", "postgres:///x", "sqlite:"])
def test_an_address_of_no_known_kind_is_refused_with_an_example(url: str):
    with pytest.raises(CatalogError, match=r"write sqlite:///absolute/path/catalog.sqlite"):
        open_catalog(url)


def test_both_ways_to_write_an_absolute_address_mean_the_same_file(tmp_path: Path):
    open_catalog(f"sqlite://{tmp_path}/c.sqlite").commit(Change([era5("2011-01")]))
    assert open_catalog(f"sqlite:///{tmp_path}/c.sqlite").count() == 1


def test_a_catalog_on_a_network_disk_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("xdask_pipelines.catalog.sqlite.sqlite_file.file_system", lambda path: "nfs4")
    with pytest.raises(CatalogError, match=r"is on a network file system .nfs4.*Move it to a local disk"):
        open_catalog(f"sqlite://{tmp_path}/c.sqlite").commit(Change([era5("2011-01")]))


def test_the_kind_of_a_file_system_is_read_from_the_machine():
    assert file_system(Path("/proc/self/status")) == "proc"
