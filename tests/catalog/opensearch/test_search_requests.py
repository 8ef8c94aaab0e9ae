"""What only a store on a network can meet: busy nodes, lost answers, writers that die or sleep, strangers."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from tests.support.catalog_helpers import era5, stored
from tests.support.node_requests import another
from tests.support.proxy import proxied
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.catalog.opensearch import opensearch_answers, opensearch_head, opensearch_node
from xdask_pipelines.catalog.opensearch import opensearch_backend as opensearch
from xdask_pipelines.catalog.opensearch.opensearch_address import Address
from xdask_pipelines.errors import CatalogError, StaleWriter
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.placement.local.tls import AUTHORITY, NODE, NODE_KEY

FORK = multiprocessing.get_context("fork")
ERA5 = {"dataset": "era5", "region": "us-east-1"}


@pytest.fixture
def address(node_address: str) -> str:
    return node_address


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_head, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(opensearch_node, "_FIRST_WAIT_SECONDS", 0.01)
    for patience in ("FIRST_PATIENCE_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(opensearch_node, patience, 2.0)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("opensearch+http://search.example.org:9200/xdask", "unencrypted to another machine"),
        ("opensearch+https://me:secret@search.example.org/xdask", "contains a user name or password"),
        ("opensearch+https://search.example.org", "is not a catalog address"),
        ("opensearch+https://search.example.org/Xdask", "in lower-case letters"),
        ("opensearch+https://search.example.org/x?region=a", "with \\?aws_region=REGION"),
        ("opensearch+https://search.example.org/x?certs=", "and \\?certs=FOLDER to show a certificate"),
        ("opensearch+https://search.example.org/x?certs=/a&ca=/b", "so that \\?ca=FILE is left out"),
        ("opensearch+http://127.0.0.1/x?certs=/a", "needs opensearch\\+https://"),
        ("opensearch+https://search.example.org:port/x", "is not a catalog address"),
        ("opensearch://search.example.org/x", "opensearch\\+https"),
    ],
)
def test_addresses_that_cannot_be_right_are_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(CatalogError, match=words) as caught:
        open_catalog(url)
    assert "secret" not in str(caught.value)


def test_an_address_says_where_and_how() -> None:
    found = Address.parse("opensearch+https://search.example.org/xdask?aws_region=eu-west-2&ca=/etc/ca.pem")
    assert found == Address(True, "search.example.org", 443, "xdask", "eu-west-2", "/etc/ca.pem")


def test_a_node_that_is_not_there_is_told_as_such(quick: None) -> None:
    with pytest.raises(CatalogError, match=r"does not answer .*`xdask opensearch up` starts a local node"):
        open_catalog("opensearch+http://127.0.0.1:9/xdask").count()


def test_a_node_that_takes_connections_and_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_answers, "FIRST_ANSWER_SECONDS", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(CatalogError, match=r"does not answer .*Read timed out"),
    ):
        open_catalog(f"opensearch+http://127.0.0.1:{silent.getsockname()[1]}/xdask").count()


# --- writers that die -------------------------------------------------------------------------------------------


def _first(catalog: Catalog) -> int:
    manifest = ManifestChange(put=[stored(f"era5-pds/{i}") for i in range(5)])
    entries = [*(era5(f"2011-{m:02}") for m in range(1, 13)), era5("2012-01", version="v1")]
    return catalog.commit(Change(entries, manifest=manifest, **ERA5))


def _second(catalog: Catalog) -> int:
    """Adds, changes, removes, supersedes; and changes the manifest."""
    manifest = ManifestChange(put=[stored("era5-pds/9"), stored("era5-pds/1", 99)], drop=["era5-pds/0"])
    entries = [era5("2011-02", etag="new"), era5("2013-01"), era5("2012-01", version="v2", key="era5-pds/v2")]
    lease = catalog.lease(owner="sync", **ERA5)
    return catalog.commit(
        Change(
            entries,
            [era5("2011-01").id],
            manifest=manifest,
            lease=lease,
            expected_entries=14,
            base_generation=1,
            **ERA5,
        )
    )


def _state(catalog: Catalog) -> object:
    kept = catalog.manifest(**ERA5)
    entries = [(e.key, e.etag, e.version) for e in catalog.search(superseded=True)]
    current = [e.key for e in catalog.search()]
    stones = [t.key for t in catalog.tombstones(**ERA5)]
    return entries, current, stones, list(kept.objects), sorted(kept.digests), catalog.facets()


def _die_at(address: str, request: int) -> None:
    """Do the second commit, and die before the request of this number is sent."""
    ask, count = opensearch_node.Node.ask, iter(range(10_000))

    def counted(self: object, *args: object, **options: object) -> object:
        if next(count) == request:
            os._exit(9)
        return ask(self, *args, **options)  # type: ignore[arg-type]

    opensearch_node.Node.ask = counted  # type: ignore[method-assign,assignment]
    _second(open_catalog(address))


@pytest.mark.opensearch
def test_a_sync_that_is_killed_anywhere_leaves_the_old_state_and_a_rerun_the_new(address: str, quick: None) -> None:
    clean = open_catalog(address)
    _first(clean)
    before = _state(clean)
    _second(clean)
    after = _state(clean)
    assert before != after
    deaths = 0
    for request in range(200):
        catalog = open_catalog(another(address, str(request)))
        _first(catalog)
        process = FORK.Process(target=_die_at, args=(another(address, str(request)), request))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == 9
        deaths += 1
        if catalog.generation(**ERA5) == 1:
            assert _state(catalog) == before, f"killed before request {request}"
            _second(catalog)
        assert _state(catalog) == after, f"killed before request {request}"
    assert deaths > 10


@pytest.mark.opensearch
def test_a_writer_that_slept_too_long_can_write_no_more_and_nobody_sees_what_it_wrote(
    address: str, quick: None
) -> None:
    catalog = open_catalog(address)
    _first(catalog)
    store = catalog.backend
    assert isinstance(store, opensearch.OpenSearchBackend)
    head, sleeper = store.heads.begin()
    catalog.commit(Change([era5("2014-01")]))  # waits in vain for a sign of life, and takes over
    writer = opensearch.OpenSearchCommit(opensearch.Documents(store.node, head), head, sleeper.number)
    edit = writer.write(opensearch.Change(upserts=(era5("2015-01"), era5("2011-05", etag="sleeper"))))
    before = _state(catalog)
    with pytest.raises(StaleWriter, match="another writer took over"):
        store.heads.finish(sleeper, edit)
    assert _state(catalog) == before
    assert catalog.count(year="2015") == 0
    catalog.commit(Change([era5("2016-01"), era5("2011-05", etag="later")]))
    assert catalog.count(year="2015") == 0
    assert [e.etag for e in catalog.search(year="2011", month="05")] == ["later"]


@pytest.mark.opensearch
def test_what_has_ended_is_removed_and_nobody_misses_it(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch, "_PURGE", 3)
    catalog = open_catalog(address)
    for i in range(10):
        catalog.commit(Change([era5(f"2011-{m:02}", etag=str(i)) for m in (1, 2, 3)]))
        assert {e.etag for e in catalog.search()} == {str(i)}
        assert catalog.count() == 3


# --- a network that is not perfect ------------------------------------------------------------------------------


@pytest.mark.opensearch
@pytest.mark.parametrize("fault", [429, 502, 503, 504, "lose"])
def test_busy_nodes_and_lost_answers_lose_nothing(
    address: str, search_node: str, quick: None, fault: int | str
) -> None:
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        proxy.fault = lambda method, path, number: fault if number % 3 == 0 else None
        assert _first(catalog) == 1
        assert _second(catalog) == 2
        found = _state(catalog)
    other = open_catalog(another(address, "clean"))
    _first(other)
    _second(other)
    assert found == _state(other)


@pytest.mark.opensearch
def test_a_node_that_stays_busy_is_told_and_nothing_is_written(address: str, search_node: str, quick: None) -> None:
    with proxied(search_node) as proxy:
        catalog = open_catalog(proxy.to(address))
        _first(catalog)
        before = _state(catalog)
        proxy.fault = lambda method, path, number: 429 if path.startswith("/_bulk") else None
        with pytest.raises(CatalogError, match="told to"):
            _second(catalog)
        proxy.fault = lambda method, path, number: None
        assert _state(catalog) == before


@pytest.mark.opensearch
def test_one_refused_document_of_many_refuses_the_commit_by_name(address: str) -> None:
    catalog = open_catalog(address)
    bad = era5("2011-07", key="era5-pds/bad.nc", attributes={"note": "x" * 40_000})
    many = [era5("2011-07", key=f"era5-pds/{i}.nc") for i in range(499)]
    with pytest.raises(CatalogError, match=r"refuses era5 us-east-1:era5-pds/bad.nc: .*immense term"):
        catalog.commit(Change([*many, bad]))
    assert catalog.count() == 0
    catalog.commit(Change(many))
    assert catalog.count() == 499


@pytest.mark.opensearch
def test_tls_and_signatures_are_checked_on_both_sides(
    address: str, search_node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(credentials: Credentials) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_key)

    folder = tmp_path / "certs"
    make_certificates(folder, ())
    authority, both = folder / AUTHORITY, tmp_path / "both.pem"
    both.write_bytes((folder / NODE).read_bytes() + (folder / NODE_KEY).read_bytes())
    keys = Credentials("AKIDEXAMPLE", "verysecret")
    with proxied(search_node, certificate=both, signed_with=keys) as proxy:
        use(keys)
        catalog = open_catalog(f"{proxy.to(address)}?aws_region=eu-west-2&ca={authority}")
        assert _first(catalog) == 1
        assert catalog.count(dataset="era5") == 13
        assert proxy.refused == []
        with pytest.raises(CatalogError, match="certificate that this process does not trust"):
            open_catalog(f"{proxy.to(address)}?aws_region=eu-west-2").count()
        with pytest.raises(CatalogError, match="refuses this identity"):
            open_catalog(f"{proxy.to(address)}?ca={authority}").count()
        use(Credentials("AKIDEXAMPLE", "wrong"))
        with pytest.raises(CatalogError, match="refuses this identity") as caught:
            open_catalog(f"{proxy.to(address)}?aws_region=eu-west-2&ca={authority}").count()
        assert "wrong" not in str(caught.value)
