"""What a sync tells although it went through: results could change without an error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.catalog_helpers import CMIP6, plan, write
from xdask_pipelines.access.syncing.sync_warnings import sync_warnings
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.catalog.layouts import Quarantined
from xdask_pipelines.catalog.sync import commit_sync
from xdask_pipelines.topology.mount import Mount

SERIES = "cmip6/CMIP/MOHC/UKESM1-0-LL/historical/r1i1p1f2/Amon/tas/gn"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")


def store(root: Path, version: str) -> Path:
    for name in (".zmetadata", ".zgroup", "tas/.zarray", *(f"tas/{i}.0.0" for i in range(5))):
        write(root, f"{SERIES}/{version}/{name}", f"{version} {name}".encode())
    return root / SERIES / version


def sync(catalog: Catalog, root: Path, mount: Mount = CMIP6) -> tuple[str, ...]:
    made = plan(catalog, root, mount)
    commit_sync(catalog, made, {entry.id: {} for entry in made.to_describe})
    return sync_warnings(made, {}, made.quarantined, [mount], catalog)


def test_chunks_that_are_gone_from_a_store_that_stays_are_told_once(catalog: Catalog, tmp_path: Path):
    path = store(tmp_path, "v20190406")
    assert sync(catalog, tmp_path) == ()
    (path / "tas/3.0.0").unlink()
    (told,) = sync(catalog, tmp_path)
    assert told.startswith(f"{SERIES}/v20190406: 1 object of this store is gone, such as tas/3.0.0. Missing chunks")
    assert sync(catalog, tmp_path) == ()


def test_an_older_version_that_stands_in_for_a_damaged_one_is_told_every_time(catalog: Catalog, tmp_path: Path):
    store(tmp_path, "v20190406")
    newest = store(tmp_path, "v20200210")
    sync(catalog, tmp_path)
    (newest / ".zmetadata").unlink()
    for _ in range(2):
        (told,) = sync(catalog, tmp_path)
        assert told.startswith(
            f"{SERIES}/v20190406 is current because the newer v20200210 is quarantined. Requests that name"
        )
    assert [e.version for e in catalog.search()] == ["v20190406"]


def test_a_version_that_was_excluded_on_purpose_or_is_older_is_not_told(catalog: Catalog, tmp_path: Path):
    store(tmp_path, "v20190406")
    store(tmp_path, "v20200210")
    oldest = store(tmp_path, "v20180101")
    (oldest / ".zmetadata").unlink()
    below = f"{SERIES}/v20200210".removeprefix("cmip6/")
    assert sync(catalog, tmp_path, replace(CMIP6, exclude=frozenset({below}))) == ()


def test_what_is_no_version_of_anything_is_no_doubt(catalog: Catalog, tmp_path: Path):
    store(tmp_path, "v20190406")
    write(tmp_path, "cmip6/README.txt")
    write(tmp_path, f"{SERIES.replace('tas', 'pr')}/v20200210/.zgroup")
    made = plan(catalog, tmp_path, CMIP6)
    assert len(made.quarantined) == 2
    quarantined = [*made.quarantined, Quarantined("elsewhere/x", "no")]
    assert sync_warnings(made, {}, quarantined, [CMIP6], catalog) == ()
