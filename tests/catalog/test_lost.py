"""Entries that vanish from a store behind the catalog's back: the next sync finds out, and brings them back."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.catalog_helpers import ERA5, ERA5_PLACE, cmip6, era5, keys, stored
from tests.support.node_requests import ask, name_of
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.catalog.opensearch.opensearch_head import SCHEMA_VERSION
from xdask_pipelines.catalog.sync import commit_sync, plan_sync
from xdask_pipelines.errors import CatalogError

OBJECTS = [stored(f"era5-pds/2011/{month:02}/data/t.nc") for month in range(1, 13)]


def _vanish(address: str, entry_id: str) -> None:
    """Delete one document by hand."""
    if address.startswith("sqlite"):
        with sqlite3.connect(address.removeprefix("sqlite://")) as db:
            db.execute("DELETE FROM entries WHERE id = ?", (entry_id,))
        db.close()
        return
    ask(address, "DELETE", f"/{name_of(address)}-{SCHEMA_VERSION}-us-east-1/_doc/{quote(entry_id)}-1?refresh=true")


def test_a_lost_entry_is_noticed_by_the_next_sync_and_brought_back(catalog: Catalog, address: str) -> None:
    commit_sync(catalog, plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE)), {})
    catalog.commit(Change([cmip6()]))
    before = catalog.search()
    assert plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE)).nothing_to_do
    _vanish(address, before[5].id)
    held = catalog.manifest(**ERA5_PLACE)
    assert (held.entries, held.written_entries, held.lost_entries) == (11, 12, True)
    catalog.commit(Change([cmip6("r2i1p1f1")]))
    assert catalog.manifest(**ERA5_PLACE).lost_entries, "commits to other places do not hide it"
    assert not catalog.manifest("cmip6", "us-west-2").lost_entries
    lease = catalog.lease(owner="sync", **ERA5_PLACE)
    catalog.repair()
    plan = plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE))
    assert keys(list(plan.added)) == [before[5].key]
    assert (plan.changed, plan.removed, plan.unchanged) == ((), (), 11)
    commit_sync(catalog, plan, {}, lease=lease)
    assert keys(catalog.search(dataset="era5")) == keys([e for e in before if e.dataset == "era5"])
    held = catalog.manifest(**ERA5_PLACE)
    assert (held.entries, held.written_entries, held.lost_entries) == (12, 12, False)
    assert plan_sync([(ERA5, OBJECTS)], held).nothing_to_do


def _vanish_manifest(address: str) -> None:
    """Delete the only piece of the manifest by hand."""
    if address.startswith("sqlite"):
        with sqlite3.connect(address.removeprefix("sqlite://")) as db:
            db.execute("DELETE FROM manifest")
        db.close()
        return
    path = f"/{name_of(address)}-{SCHEMA_VERSION}-us-east-1/_delete_by_query?refresh=true"
    ask(address, "POST", path, json.dumps({"query": {"term": {"kind": "manifest"}}}))


def test_a_lost_piece_of_a_manifest_is_found_by_the_next_sync(catalog: Catalog, address: str) -> None:
    """Also where a file is gone, whose entry only the lost piece named."""
    commit_sync(catalog, plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE)), {})
    before = catalog.search()
    assert not catalog.manifest(**ERA5_PLACE).lost_objects
    _vanish_manifest(address)
    if address.startswith("sqlite"):
        with pytest.raises(CatalogError, match="the manifest of era5 in us-east-1 in its file is not what was written"):
            catalog.manifest(**ERA5_PLACE)
        catalog.repair()
    else:
        catalog.commit(
            Change([era5("2012-01", key="by-hand", etag="x")], manifest=ManifestChange(put=[stored("x")]), **ERA5_PLACE)
        )
        catalog.commit(
            Change([], [era5("2012-01", key="by-hand").id], manifest=ManifestChange(drop=["x"]), **ERA5_PLACE)
        )
        assert catalog.manifest(**ERA5_PLACE).lost_objects, "other commits do not hide it"
    plan = plan_sync([(ERA5, OBJECTS[1:])], catalog.manifest(**ERA5_PLACE))
    assert (plan.removed, plan.added) == ((before[0].id,), ())
    commit_sync(catalog, plan, {})
    held = catalog.manifest(**ERA5_PLACE)
    assert list(held.objects) == OBJECTS[1:]
    assert not held.lost_objects
    assert keys(catalog.search()) == keys(before[1:])
    assert plan_sync([(ERA5, OBJECTS[1:])], held).nothing_to_do


def test_a_full_sync_describes_and_writes_every_entry_again(catalog: Catalog) -> None:
    commit_sync(catalog, plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE)), {})
    found = catalog.search()
    wrong = [e.with_header({"attrs": {}, "extent": [0, 0, 1, 1]}) for e in found[:3]]
    catalog.commit(Change(wrong))  # as damage that only the data can tell
    assert plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE)).nothing_to_do
    plan = plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE), full=True)
    assert (len(plan.changed), plan.added, plan.removed, plan.unchanged) == (12, (), (), 0)
    commit_sync(catalog, plan, {e.id: {"attrs": {"right": e.key}} for e in plan.changed})
    assert [e.header for e in catalog.search()] == [{"attrs": {"right": e.key}} for e in found]
    assert catalog.count(bbox=(0, 0, 1, 1)) == 0


def test_entries_are_counted_through_all_that_changes_them(catalog: Catalog) -> None:
    def counted(dataset: str, region: str) -> int | None:
        held = catalog.manifest(dataset, region)
        assert not held.lost_entries
        return held.written_entries

    catalog.commit(Change([era5("2011-01"), era5("2011-02"), cmip6()]))
    assert (counted("era5", "us-east-1"), counted("cmip6", "us-west-2")) == (2, 1)
    catalog.commit(Change([era5("2011-01", etag="new"), era5("2011-03")], [cmip6().id]))
    assert (counted("era5", "us-east-1"), counted("cmip6", "us-west-2")) == (3, 0)
    with pytest.raises(CatalogError):
        catalog.commit(Change([era5("2011-04")], expected_entries=9, **ERA5_PLACE))
    assert counted("era5", "us-east-1") == 3
    catalog.commit(Change([], [era5("2011-03").id], expected_entries=2, **ERA5_PLACE))
    catalog.commit(Change([cmip6()]))
    assert (counted("era5", "us-east-1"), counted("cmip6", "us-west-2")) == (2, 1)


def test_a_row_that_is_lost_from_a_file_is_never_left_out_in_silence(tmp_path: Path) -> None:
    address = f"sqlite://{tmp_path}/c.sqlite"
    catalog = open_catalog(address)
    catalog.commit(Change([era5("2011-01"), era5("2011-02")]))
    _vanish(address, era5("2011-01").id)
    with pytest.raises(CatalogError, match="the table of entries in its file is not what was written"):
        catalog.search()


@pytest.mark.opensearch
def test_a_document_that_was_damaged_on_a_node_is_named_and_written_again_by_a_full_sync(
    node_address: str,
) -> None:
    catalog = open_catalog(node_address)
    commit_sync(catalog, plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE)), {})
    before = keys(catalog.search())
    index, damaged = f"{name_of(node_address)}-{SCHEMA_VERSION}-us-east-1", era5("2011-05", key=before[4]).id
    body = json.dumps({"doc": {"document": '{"dataset": "era5", "reg'}})
    ask(node_address, "POST", f"/{index}/_update/{damaged}-1?refresh=true", body)
    with pytest.raises(CatalogError, match=r"Not an entry.*Run `xdask sync --full`"):
        catalog.search()
    plan = plan_sync([(ERA5, OBJECTS)], catalog.manifest(**ERA5_PLACE), full=True)
    commit_sync(catalog, plan, {})
    assert keys(catalog.search()) == before
