"""Readers in whose middle a catalog changes: commits, purges, migrations, repairs. They answer of one moment, whole.

Each test changes the catalog at a certain step of a read. Without the check that it is about, the answer would be of two
moments, or of documents that are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.support.catalog_helpers import ERA5_PLACE, era5, stored
from tests.support.node_requests import another
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.catalog.opensearch import opensearch_backend as opensearch
from xdask_pipelines.catalog.opensearch import opensearch_head, opensearch_index, opensearch_node
from xdask_pipelines.catalog.opensearch.opensearch_index import Documents
from xdask_pipelines.catalog.sqlite import sqlite_backend as sqlite
from xdask_pipelines.errors import StaleWriter

MONTHS = [f"2011-{m:02}" for m in range(1, 13)]
Ask = Callable[[Catalog], Any]
ASKED: dict[str, Ask] = {
    "search": lambda c: [(e.key, e.etag) for e in c.search(superseded=True)],
    "count": lambda c: (c.count(), c.count(tag="old"), c.count(tag="new")),
    "facets": lambda c: c.facets("tag", "month", "key"),
    "names": lambda c: c.names(),
    "manifest": lambda c: (list((m := c.manifest(**ERA5_PLACE)).objects), m.entries, m.generation),
    "tombstones": lambda c: [t.key for t in c.tombstones(**ERA5_PLACE)],
}


def _first(catalog: Catalog) -> None:
    old = [era5(m, etag="old", attributes={"tag": "old"}) for m in MONTHS]
    catalog.commit(
        Change(old, manifest=ManifestChange(put=[stored(f"era5-pds/{i:02}") for i in range(12)]), **ERA5_PLACE)
    )
    catalog.commit(Change([], [old[0].id]))


def _second(catalog: Catalog) -> None:
    """All entries again, one of them lost before, and the whole manifest."""
    new = [era5(m, etag="new", attributes={"tag": "new", "more": "x"}) for m in MONTHS]
    manifest = ManifestChange(put=[stored(f"era5-pds/{i:02}", 99) for i in range(12)])
    catalog.commit(Change(new, [], manifest=manifest, **ERA5_PLACE))


def _both(address: str, ask: Ask) -> tuple[Any, Any]:
    """Answers before and after."""
    catalog = open_catalog(another(address, "clean") if "opensearch" in address else f"{address}.clean")
    _first(catalog)
    before = ask(catalog)
    _second(catalog)
    return before, ask(catalog)


# --- SQLite ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/c.sqlite"


@pytest.mark.parametrize("what", ["search", "count", "facets", "manifest"])
@pytest.mark.parametrize("change", ["commit", "repair"])
def test_a_file_that_changes_between_the_steps_of_a_read_answers_of_one_moment(
    file: str, monkeypatch: pytest.MonkeyPatch, what: str, change: str
) -> None:
    """The read has found out which entries match, and has not read them yet."""
    before, after = _both(file, ASKED[what])
    assert before != after
    catalog, matching, changes = open_catalog(file), sqlite.matching, iter([True])
    _first(catalog)

    def then_changed(*args: Any) -> Any:
        found = matching(*args)
        if next(changes, False):
            other = open_catalog(file)  # with connections of its own
            _second(other)
            if change == "repair":
                with other.backend.file.writing() as db:  # type: ignore[attr-defined]
                    sqlite.repair(db)
        return found

    monkeypatch.setattr(sqlite, "matching", then_changed)
    first = ASKED[what](catalog)
    assert next(changes, None) is None, "it did change"
    if what == "count":  # three reads, the first of which saw the change come
        assert first[0] == before[0]
    else:
        assert first == before
    assert ASKED[what](catalog) == after


# --- OpenSearch ------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(node_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(opensearch_head, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(opensearch_node, "_FIRST_WAIT_SECONDS", 0.01)
    return node_address


def _purge(address: str) -> None:
    """Remove all that does not count any more, and wait until it is gone."""
    store = open_catalog(address).backend
    assert isinstance(store, opensearch.OpenSearchBackend)
    store.purge()
    documents = Documents(store.node, store.heads.load())
    deadline = monotonic() + 20
    ended = {"range": {"until": {"lt": 2**62}}}
    while documents.count([ended]) and monotonic() < deadline:
        sleep(0.05)
        documents.refresh()
    assert not documents.count([ended])


def _amid(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, at: int, change: Callable[[], None]
) -> Iterator[bool]:
    """Let a change happen after the call of a method that has this number."""
    method, calls, done = getattr(owner, name), iter(range(1_000)), []

    def changing(self: Any, *args: Any, **options: Any) -> Any:
        answer = method(self, *args, **options)
        if next(calls) == at and not done:
            done.append(True)
            change()
        return answer

    monkeypatch.setattr(owner, name, changing)
    return iter(done)


@pytest.mark.opensearch
@pytest.mark.parametrize("what", sorted(ASKED))
def test_a_reader_whose_documents_are_purged_asks_again(
    address: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It has loaded the head, and what held then is gone when it looks."""
    _, after = _both(address, ASKED[what])
    catalog = open_catalog(address)
    _first(catalog)
    monkeypatch.setattr(opensearch, "_PURGE", 0)

    def change() -> None:
        _second(open_catalog(address))
        _purge(address)

    done = _amid(monkeypatch, opensearch_head.HeadDocument, "load", 0, change)
    assert ASKED[what](catalog) == after
    assert next(done, False), "it did change"


@pytest.mark.opensearch
@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_search_of_several_pages_in_whose_middle_a_purge_comes_asks_again(
    address: str, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(opensearch_index, "MAX_BODY_BYTES", 2_000)
    _, after = _both(address, ASKED["search"])
    catalog = open_catalog(address)
    _first(catalog)
    monkeypatch.setattr(opensearch, "_PURGE", 0)

    def change() -> None:
        _second(open_catalog(address))
        _purge(address)

    done = _amid(monkeypatch, Documents, "_page", page, change)
    assert ASKED["search"](catalog) == after
    assert next(done, False)


@pytest.mark.opensearch
@pytest.mark.parametrize("what", sorted(ASKED))
def test_a_reader_in_whose_middle_a_commit_comes_answers_of_the_moment_before(
    address: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    before, after = _both(address, ASKED[what])
    catalog = open_catalog(address)
    _first(catalog)
    done = _amid(monkeypatch, opensearch_head.HeadDocument, "load", 0, lambda: _second(open_catalog(address)))
    first = ASKED[what](catalog)
    assert (first[0] == before[0]) if what == "count" else (first == before)
    assert next(done, False)
    assert ASKED[what](catalog) == after


@pytest.mark.opensearch
@pytest.mark.parametrize("what", sorted(ASKED))
def test_a_reader_whose_catalog_is_migrated_and_changed_asks_again(
    address: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The indices that it knew are gone, or hold what was true before."""
    _, after = _both(address, ASKED[what])
    catalog = open_catalog(address)
    _first(catalog)

    def change() -> None:
        monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", opensearch_head.SCHEMA_VERSION + 1)
        open_catalog(address).migrate()
        _second(open_catalog(address))

    done = _amid(monkeypatch, opensearch_head.HeadDocument, "load", 0, change)
    found = ASKED[what](catalog)
    assert next(done, False)
    if what == "manifest":  # a migration takes a number
        found, after = found[:-1], after[:-1]
    assert found == after


# --- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["file", pytest.param("address", marks=pytest.mark.opensearch)])
def test_digests_of_a_manifest_are_of_its_generation_or_refused(store: str, request: pytest.FixtureRequest) -> None:
    catalog = open_catalog(request.getfixturevalue(store))
    _first(catalog)
    held, again = catalog.manifest(**ERA5_PLACE), catalog.manifest(**ERA5_PLACE)
    assert len(held.digests) == 11
    catalog.commit(Change([era5("2011-01", region="us-west-2")]))
    assert again.digests == held.digests, "another place does not matter"
    late = catalog.manifest(**ERA5_PLACE)
    _second(catalog)
    with pytest.raises(StaleWriter, match=r"is no longer at generation \d+: another commit came meanwhile"):
        _ = late.digests
