"""Catalogs on a node that an older version made, that lost an index, or hold what dead writers left behind."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from tests.support.catalog_helpers import era5, stored
from tests.support.node_requests import ask, name_of
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.catalog.opensearch import opensearch_backend as opensearch
from xdask_pipelines.catalog.opensearch import opensearch_head, opensearch_migrate, opensearch_node
from xdask_pipelines.catalog.opensearch.opensearch_index import Documents
from xdask_pipelines.catalog.opensearch.opensearch_query import garbage
from xdask_pipelines.cli import main
from xdask_pipelines.errors import CatalogError

pytestmark = pytest.mark.opensearch
FORK = multiprocessing.get_context("fork")
NOW = opensearch_head.SCHEMA_VERSION
NEXT = NOW + 1
ERA5 = {"dataset": "era5", "region": "us-east-1"}


@pytest.fixture
def address(node_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(opensearch_head, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(opensearch_node, "_FIRST_WAIT_SECONDS", 0.01)
    return node_address


def _fill(catalog: Catalog) -> None:
    catalog.commit(
        Change([era5("2011-01"), era5("2011-02")], manifest=ManifestChange(put=[stored("a"), stored("b")]), **ERA5)
    )
    catalog.commit(Change([era5("2011-01", region="us-west-2", extent=(0, 0, 10, 10))]))
    catalog.commit(Change([era5("2011-03")], [era5("2011-01").id], manifest=ManifestChange(drop=["a"]), **ERA5))


def _state(catalog: Catalog) -> object:
    kept = catalog.manifest(**ERA5)
    entries = [(e.region, e.key, e.generation, e.extent) for e in catalog.search(superseded=True)]
    stones = [t.key for t in catalog.tombstones(**ERA5)]
    return entries, stones, list(kept.objects), kept.digests, kept.generation, catalog.facets(), catalog.names()


def _indices(address: str) -> list[str]:
    return sorted(ask(address, "GET", f"/{name_of(address)}-*/_settings"))


def _store(catalog: Catalog) -> opensearch.OpenSearchBackend:
    store = catalog.backend
    assert isinstance(store, opensearch.OpenSearchBackend)
    return store


def _die_at(address: str, request: int, schema: int) -> None:
    """Migrate, and die before the request of this number is sent."""
    ask, count = opensearch_node.Node.ask, iter(range(10_000))

    def counted(*args: Any, **options: Any) -> Any:
        if next(count) == request:
            os._exit(9)
        return ask(*args, **options)

    opensearch_head.SCHEMA_VERSION = schema
    with patch.object(opensearch_node.Node, "ask", counted):
        open_catalog(address).migrate()


def _moved(catalog: Catalog) -> bool:
    """Whether the catalog is newer than this code."""
    try:
        catalog.generation(**ERA5)
    except CatalogError as error:
        return "but this code supports only" in str(error)
    return False


# --- an older mapping ------------------------------------------------------------------------------------------------


def test_an_older_catalog_is_refused_until_it_is_migrated_and_a_newer_one_always(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(address)
    _fill(catalog)
    before = _state(catalog)
    assert not catalog.migrate(), "it is of this version"
    monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", NEXT)
    for act in (
        catalog.count,
        lambda: catalog.commit(Change([era5("2011-05")])),
        lambda: catalog.lease(owner="me", **ERA5),
    ):
        with pytest.raises(
            CatalogError, match=r"mapping of version 3, but this code needs 4\. Run `xdask catalog migrate`"
        ):
            act()
    said: list[str] = []
    assert catalog.migrate(said.append)
    assert "us-east-1: 6 documents copied" in said
    assert _state(catalog) == before
    assert catalog.commit(Change([era5("2011-05")], base_generation=3, **ERA5)) == 5, "the migration took a number"
    monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", NOW)
    for act in (catalog.count, catalog.migrate, lambda: catalog.commit(Change([era5("2011-05")]))):
        with pytest.raises(CatalogError, match="mapping of version 4, but this code supports only 3"):
            act()


def test_the_command_that_the_error_names_migrates(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(address)
    _fill(catalog)
    regions = (Path(__file__).parents[3] / "regions.yaml").read_text()
    (tmp_path / "regions.yaml").write_text(f"{regions}\ncatalog: {address}\n")
    monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", NEXT)
    shell = CliRunner(env={"XDASK_TOPOLOGY": str(tmp_path / "regions.yaml")})
    refused = shell.invoke(main, ["catalog", "search"])
    assert refused.exit_code == 1
    assert "Run `xdask catalog migrate` once" in refused.output
    done = shell.invoke(main, ["catalog", "migrate"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "done")
    again = shell.invoke(main, ["catalog", "migrate"])
    assert again.output == "nothing to do: already of this version\n"
    assert catalog.count() == 3


def test_a_migration_that_is_killed_anywhere_changes_nothing_and_a_rerun_ends_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn migrates the same catalog to one version more."""
    monkeypatch.setattr(opensearch_migrate, "_LOOK_SECONDS", 0.02)
    catalog = open_catalog(address)
    catalog.commit(Change([era5("2011-01"), era5("2011-02")], manifest=ManifestChange(put=[stored("a")]), **ERA5))
    before = _state(catalog)
    deaths = turned = 0
    for request in range(200):
        process = FORK.Process(target=_die_at, args=(address, request, NEXT + request))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == 9
        deaths += 1
        if _moved(catalog):
            turned += 1
        else:
            assert _state(catalog) == before, f"killed before request {request}"
        monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", NEXT + request)
        catalog.migrate()
        assert _state(catalog) == before, f"killed before request {request}"
        assert len(_indices(address)) == 2, "the head and one Region: nothing stays behind"
    assert deaths > 15
    assert 0 < turned < deaths


def test_two_that_migrate_at_once_and_a_writer_lose_nothing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = open_catalog(address)
    _fill(catalog)
    head, writer = _store(catalog).heads.begin()
    monkeypatch.setattr(opensearch_head, "PATIENCE_SECONDS", 10.0)
    processes = [FORK.Process(target=_die_at, args=(address, -1, NEXT)) for _ in range(2)]
    for process in processes:
        process.start()
    sleep(0.5)
    commit = opensearch.OpenSearchCommit(Documents(_store(catalog).node, head), head, writer.number)
    _store(catalog).heads.finish(writer, commit.write(opensearch.Change(upserts=(era5("2012-01"),))))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", NEXT)
    assert [e.facets["year"] for e in catalog.search(year="2012")] == ["2012"], "what was under way came first"
    assert catalog.count() == 4
    assert len(_indices(address)) == 3


def test_a_writer_that_slept_through_a_migration_can_write_no_more(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(address)
    _fill(catalog)
    store = _store(catalog)
    head, sleeper = store.heads.begin()
    edit = opensearch.OpenSearchCommit(Documents(store.node, head), head, sleeper.number).write(
        opensearch.Change(upserts=(era5("2015-01"),), removals=(era5("2011-02").id,))
    )
    monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", NEXT)
    catalog.migrate()
    assert catalog.count(year="2015") == 0
    assert catalog.count() == 3
    monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", NOW)
    with pytest.raises(CatalogError, match="mapping of version 4"):
        store.heads.finish(sleeper, edit)


def test_a_reader_whose_indices_go_while_it_reads_asks_again(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = open_catalog(address)
    _fill(catalog)
    load, moved = opensearch_head.HeadDocument.load, iter([True])

    def migrated_after(self: opensearch_head.HeadDocument) -> opensearch_head.Head:
        head = load(self)
        if next(moved, False):
            monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", NEXT)
            open_catalog(address).migrate()
        return head

    monkeypatch.setattr(opensearch_head.HeadDocument, "load", migrated_after)
    assert catalog.count() == 3


# --- indices that are gone -------------------------------------------------------------------------------------------


def test_a_catalog_whose_head_or_index_was_deleted_says_so_and_is_not_empty(address: str) -> None:
    catalog = open_catalog(address)
    _fill(catalog)
    ask(address, "DELETE", f"/{name_of(address)}-3-us-west-2")
    for act in (catalog.count, catalog.search, lambda: catalog.commit(Change([era5("2011-09", region="us-west-2")]))):
        with pytest.raises(
            CatalogError, match=r"has lost an index: .*us-west-2.* Restore it from a snapshot; or delete"
        ):
            act()
    assert len(_indices(address)) == 2, "none was made in silence"
    ask(address, "DELETE", f"/{name_of(address)}-head")
    for act in (catalog.count, lambda: catalog.commit(Change([era5("2011-09")]))):
        with pytest.raises(
            CatalogError, match=r"has lost its head, the index t\w+-head.* or delete t\w+-3-us-east-1 too"
        ):
            act()
    ask(address, "DELETE", f"/{name_of(address)}-3-us-east-1")
    assert catalog.commit(Change([era5("2011-09")])) == 1


# --- what dead writers leave -----------------------------------------------------------------------------------------


def _left(catalog: Catalog) -> Iterator[tuple[str, int, int]]:
    """All documents with the commits that began and ended them, whether they count or not."""
    store = _store(catalog)
    head = store.heads.load()
    documents = Documents(store.node, head)
    documents.refresh()
    for d in documents.found({"match_all": {}}, ["id"], ["kind", "from", "until"]):
        yield d["kind"], d["from"], d["until"]


def test_what_aborted_commits_left_is_removed_and_what_they_ended_in_vain_stays(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch, "_PURGE", 2)
    catalog = open_catalog(address)
    catalog.commit(Change([era5(f"2011-{m:02}") for m in range(1, 7)]))
    changes = [era5("2011-01", etag="new"), era5("2013-01")]
    with pytest.raises(CatalogError, match="would have"):
        catalog.commit(Change(changes, [era5("2011-02").id], expected_entries=99, **ERA5))
    assert 2 in {begun for _, begun, _ in _left(catalog)}
    assert 2 in {ended for _, _, ended in _left(catalog)}, "the dead commit seems to have ended entries"
    store = _store(catalog)
    for i in range(3):
        catalog.commit(Change([era5(f"2011-{m:02}", etag=f"v{i}") for m in (3, 4, 5)]))
        assert catalog.count() == 6
    deadline = monotonic() + 20
    while any(begun == 2 for _, begun, _ in _left(catalog)) and monotonic() < deadline:
        sleep(0.1)
    head = store.heads.load()
    documents = Documents(store.node, head)
    while documents.count([garbage(head)]) and monotonic() < deadline:
        sleep(0.1)
        documents.refresh()
    assert 2 not in {begun for _, begun, _ in _left(catalog)}
    assert {e.key: e.etag for e in catalog.search()} == {
        **{era5(f"2011-{m:02}").key: "e" for m in (1, 2, 6)},
        **{era5(f"2011-{m:02}").key: "v2" for m in (3, 4, 5)},
    }


def test_documents_of_a_living_writer_are_no_garbage(address: str) -> None:
    catalog = open_catalog(address)
    _fill(catalog)
    store = _store(catalog)
    head, attempt = store.heads.begin()
    documents = Documents(store.node, head)
    edit = opensearch.OpenSearchCommit(documents, head, attempt.number).write(
        opensearch.Change(upserts=(era5("2015-01"),))
    )
    store.purge()
    documents.refresh()
    assert documents.count([{"term": {"from": attempt.number}}]) == 1
    assert documents.count([garbage(store.heads.load())]) == 0
    store.heads.finish(attempt, edit)
    assert catalog.count(year="2015") == 1
