"""Bytes: requests and answers stay small however large entries are, and answers that are not the node's are named."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.catalog_helpers import ERA5_PLACE, era5, stored
from tests.support.node_requests import another
from tests.support.proxy import Proxy, proxied
from xdask_pipelines.catalog import Change, ManifestChange, copy_catalog, open_catalog
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.manifest.pieces import PIECE_BYTES, changed
from xdask_pipelines.catalog.opensearch import opensearch_backend as opensearch
from xdask_pipelines.catalog.opensearch import opensearch_head, opensearch_node
from xdask_pipelines.catalog.opensearch.opensearch_index import OutgoingDocument, portions
from xdask_pipelines.catalog.opensearch.opensearch_query import MAPPING
from xdask_pipelines.errors import CatalogError

MB = 1_000_000


@pytest.fixture
def address(node_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(opensearch_node, "_FIRST_WAIT_SECONDS", 0.01)
    for patience in ("FIRST_PATIENCE_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(opensearch_node, patience, 0.3)
    return node_address


def _large(number: int, size: int) -> list[Any]:
    """Entries whose headers have so many bytes, which do not compress."""
    return [
        era5("2011-07", key=f"k/{i:04}", header={"attrs": {"history": secrets.token_hex(size // 2)}})
        for i in range(number)
    ]


# --- cut by bytes ----------------------------------------------------------------------------------------------------


def test_portions_are_as_many_as_fit_and_at_least_one() -> None:
    assert list(portions([])) == []
    assert list(portions([3 * MB, 4 * MB, 2 * MB, 20 * MB, 0, 8 * MB, 1])) == [2, 1, 1, 2, 1]
    assert list(portions([1] * 10_000)) == [10_000]


def test_pieces_of_a_manifest_with_long_keys_are_cut_by_bytes() -> None:
    objects = [stored(f"{i:06}/{secrets.token_hex(450)}") for i in range(15_000)]
    pieces = changed(ObjectTable.of(()), ManifestChange(put=ObjectTable.of(objects)))
    assert [item for piece in pieces for item in piece] == objects
    assert len(pieces) == 3
    assert max(len(piece.packed()) for piece in pieces) < PIECE_BYTES
    assert len(changed(ObjectTable.of(()), ManifestChange(put=[stored(f"{i:06}") for i in range(15_000)]))) == 1


@pytest.mark.opensearch
def test_a_thousand_entries_of_200_kb_are_committed_and_found(address: str, search_node: str, tmp_path: Path) -> None:
    """In requests and answers of at most 10 MiB, as small instances of AWS domains take them."""
    sizes: list[tuple[str, int, int]] = []
    with proxied(search_node) as proxy:
        proxy.sizes = sizes
        catalog = open_catalog(proxy.to(address))
        entries = _large(1_000, 200_000)
        catalog.commit(Change(entries, manifest=ManifestChange(put=[stored(e.key) for e in entries]), **ERA5_PLACE))
        found = catalog.search()
        assert [(e.key, e.header) for e in found] == [(e.key, e.header) for e in entries]
        assert len(catalog.search(limit=700)) == 700
        catalog.commit(Change([era5("2011-07", key=e.key, etag="new") for e in entries[:500]], **ERA5_PLACE))
        catalog.commit(Change([], [e.id for e in entries[500:]]))
        assert catalog.count() == 500
        assert len(catalog.tombstones(**ERA5_PLACE)) == 500
    assert max(sent for _, sent, _ in sizes) < 10 * 2**20
    assert max(received for _, _, received in sizes) < 10 * 2**20
    assert sum(sent > 4 * MB for _, sent, _ in sizes) >= 20, "and not one by one"


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the node itself reports of each task that copied documents."""
    ask, reports = opensearch_node.Node.ask, []

    def asked(self: opensearch_node.Node, request: Any) -> Any:
        answer = ask(self, request)
        if isinstance(answer, dict) and answer.get("completed"):
            reports.append(answer["response"])
        return answer

    monkeypatch.setattr(opensearch_node.Node, "ask", asked)
    return reports


@pytest.mark.opensearch
def test_a_migration_copies_so_many_documents_at_once_as_fit(
    address: str, copying: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large entries, pieces of a manifest, and small entries of another dataset, which are not slowed by the large ones."""
    catalog = open_catalog(address)
    entries = _large(100, 400_000)
    objects = ManifestChange(put=[stored(e.key) for e in entries])
    catalog.commit(Change(entries, manifest=objects, **ERA5_PLACE))
    small = [era5("2011-07", dataset="small", key=f"k/{i:04}") for i in range(2_500)]
    catalog.commit(Change(small))
    monkeypatch.setattr(opensearch_head, "SCHEMA_VERSION", 4)
    assert catalog.migrate()
    assert sorted((r["created"], r["batches"]) for r in copying) == [(1, 1), (100, 6), (2_500, 3)]
    assert [(e.key, e.header) for e in catalog.search(dataset="era5")] == [(e.key, e.header) for e in entries]
    assert catalog.count(dataset="small") == 2_500
    assert list(catalog.manifest(**ERA5_PLACE).objects) == list(objects.put)


@pytest.mark.opensearch
def test_large_entries_of_a_version_that_did_not_measure_are_migrated_and_copied(
    address: str, copying: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmeasured = {name: kind for name, kind in MAPPING["properties"].items() if name != "bytes"}
    with monkeypatch.context() as before:
        before.setattr(opensearch_head, "SCHEMA_VERSION", 2)
        before.setitem(MAPPING, "properties", unmeasured)
        before.setattr(
            OutgoingDocument,
            "of",
            lambda identity, document, of=OutgoingDocument.of: of(identity, _without_size(document)),
        )
        catalog = open_catalog(address)
        entries = _large(100, 200_000)
        catalog.commit(Change(entries, **ERA5_PLACE))
    assert catalog.migrate()
    assert [(r["created"], r["batches"]) for r in copying] == [(100, 13)]
    assert [e.header for e in catalog.search()] == [e.header for e in entries]
    copied = copy_catalog(address, f"sqlite://{tmp_path}/c.sqlite")
    assert [held.entries for held in copied.values()] == [100]
    back = copy_catalog(f"sqlite://{tmp_path}/c.sqlite", another(address, "back"))
    assert back == copied


def _without_size(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "bytes"}


@pytest.mark.opensearch
def test_facets_with_many_values_are_counted_apart(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch, "_ALL_VALUES", 40)
    catalog = open_catalog(address)
    entries = [era5("2011-07", key=f"k/{i:02}", facets={"odd": str(i % 2), "own": f"{i:02}"}) for i in range(30)]
    catalog.commit(Change(entries))
    found = catalog.facets("odd", "own", "region")
    assert found["odd"] == {"0": 15, "1": 15}
    assert found["own"] == {f"{i:02}": 1 for i in range(30)}
    monkeypatch.setattr(opensearch, "_MAX_VALUES", 20)
    with pytest.raises(CatalogError, match=r"own has more than 20 values among these entries\. Narrow the query"):
        catalog.facets("odd", "own")


# --- answers that are none -------------------------------------------------------------------------------------------

PAGE = b"<html><head><title>Welcome</title></head><body>It works!</body></html>"


def _answers(kind: str, status: int, content: bytes) -> Callable[[Proxy], None]:
    def arm(proxy: Proxy) -> None:
        proxy.fault = lambda method, path, number: (status, content, kind) if method != "HEAD" else None

    return arm


@pytest.mark.opensearch
@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (
            _answers("text/html", 200, PAGE),
            "sent an answer that is not from OpenSearch: text/html instead of JSON: '<html>",
        ),
        (_answers("text/html", 404, PAGE), "not from OpenSearch: status 404 with '<html>"),
        (_answers("application/json", 404, b'{"message": "no route"}'), "status 404 with .*no route"),
        (_answers("application/json", 200, b""), "application/json instead of JSON: nothing"),
        (_answers("application/json", 200, b'{"_source": {"hea'), "truncated or corrupt JSON"),
        (_answers("application/json", 200, b'["no", "object"]'), "JSON that is not an object"),
        (_answers("application/json", 200, b'{"status": "ok"}'), "JSON without the requested fields .KeyError"),
        (_answers("text/html", 413, PAGE), r"refuses requests of this size \(HTTP status 413\).*max_content_length"),
    ],
)
def test_answers_that_no_node_gives_are_named_and_are_no_empty_catalog(
    address: str, search_node: str, arm: Callable[[Proxy], None], words: str
) -> None:
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        catalog.commit(Change([era5("2011-01")]))
        arm(proxy)
        for ask in (catalog.count, catalog.search, lambda: catalog.commit(Change([era5("2011-02")]))):
            with pytest.raises(CatalogError, match=words):
                ask()
        proxy.fault = lambda method, path, number: None
        assert catalog.count() == 1


@pytest.mark.opensearch
@pytest.mark.parametrize("lost", [b'"aggregations"', b'"buckets"'])
def test_an_answer_without_the_counts_that_were_asked_for_is_no_answer(
    address: str, search_node: str, lost: bytes
) -> None:
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        catalog.commit(Change([era5("2011-01")]))
        proxy.fault = lambda method, path, number: (
            (lambda content: content.replace(lost, b'"other"')) if "/_search" in path else None
        )
        for ask in (catalog.names, catalog.facets, lambda: catalog.facets("key"), lambda: catalog.facets("year")):
            with pytest.raises(CatalogError, match=r"sent an answer that is not from OpenSearch: .*no counts of"):
                ask()


@pytest.mark.opensearch
def test_an_entry_whose_document_is_gone_is_an_error_that_says_what_to_do(address: str, search_node: str) -> None:
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        catalog.commit(Change([era5("2011-01")]))
        proxy.fault = lambda method, path, number: (
            (lambda content: content.replace(b'"document"', b'"other"')) if "/_search" in path else None
        )
        with pytest.raises(CatalogError, match=r"Not an entry.*Run `xdask sync --full`"):
            catalog.search()


@pytest.mark.opensearch
@pytest.mark.parametrize("lost", [b'"_source"', b'"sort"'])
def test_hits_without_what_was_asked_for_are_no_answer(address: str, search_node: str, lost: bytes) -> None:
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        catalog.commit(Change([era5("2011-01")], manifest=ManifestChange(put=[stored("x")]), **ERA5_PLACE))
        proxy.fault = lambda method, path, number: (
            (lambda content: content.replace(lost, b'"other"')) if "/_search" in path else None
        )
        for ask in (
            catalog.search,
            lambda: catalog.manifest(**ERA5_PLACE),
            lambda: catalog.commit(Change([era5("2011-01")])),
        ):
            with pytest.raises(CatalogError, match=r"sent an answer that is not from OpenSearch: .*hits without"):
                ask()


@pytest.mark.opensearch
def test_documents_of_which_nobody_knows_whether_they_were_written_are_no_commit(
    address: str, search_node: str
) -> None:
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        proxy.fault = lambda method, path, number: (
            (lambda content: content.replace(b'"status"', b'"other"')) if path.startswith("/_bulk") else None
        )
        with pytest.raises(
            CatalogError, match=r"sent an answer that is not from OpenSearch: JSON without the requested fields"
        ):
            catalog.commit(Change([era5("2011-01")]))
        assert catalog.count() == 0


@pytest.mark.opensearch
@pytest.mark.parametrize("path", ["/_bulk", "/_doc/head", "/_create/head", "/_refresh", "/_search", "/_count"])
def test_a_commit_whose_requests_are_answered_by_others_is_no_commit(address: str, search_node: str, path: str) -> None:
    """They answer, with what looks like success, once in three times, and do not pass the request on."""
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        answered = iter(range(1_000))
        proxy.fault = lambda method, asked, number: (
            (200, b'{"errors": false, "acknowledged": true}', "application/json")
            if path in asked and method != "GET" and next(answered) % 3 == 0
            else None
        )
        catalog.commit(Change([era5("2011-01")], expected_entries=1, **ERA5_PLACE))
        catalog.commit(Change([era5("2011-02")], [era5("2011-01").id], expected_entries=1, **ERA5_PLACE))
        assert [e.key for e in catalog.search()] == [era5("2011-02").key]
        assert next(answered) > 0


@pytest.mark.opensearch
def test_an_answer_without_some_shards_is_no_answer(address: str, search_node: str) -> None:
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        catalog.commit(Change([era5("2011-01"), era5("2011-01", region="us-west-2")]))

        def partial(content: bytes) -> bytes:
            answer = json.loads(content)
            answer["_shards"]["failed"] = 1
            if "hits" in answer:
                answer["hits"]["hits"] = answer["hits"]["hits"][:1]
            return json.dumps(answer | ({"count": 1} if "count" in answer else {})).encode()

        proxy.fault = lambda method, path, number: partial if "_search" in path or "_count" in path else None
        for ask in (catalog.count, catalog.search, catalog.facets):
            with pytest.raises(CatalogError, match=r"sends incomplete answers.*1 of 2 shards did not answer"):
                ask()


@pytest.mark.opensearch
def test_a_node_that_is_starting_is_waited_for_and_an_address_without_one_is_not(
    address: str, search_node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_node, "FIRST_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(opensearch_node, "PATIENCE_SECONDS", 30.0)
    with proxied(search_node) as proxy:
        proxy.fault = lambda method, path, number: 503 if number < 9 else None
        catalog = open_catalog(proxy.to(address))
        catalog.commit(Change([era5("2011-01")]))
        assert len(proxy.seen) > 9
    with pytest.raises(CatalogError, match=r"does not answer .*, after 0 s of retries"):
        open_catalog("opensearch+http://127.0.0.1:9/xdask").count()
