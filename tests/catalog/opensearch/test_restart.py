"""A node that is killed and started again in the middle of commits and searches: they wait, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import threading
from time import sleep

import pytest

from tests.support.catalog_helpers import ERA5_PLACE, era5
from tests.support.places import eventually
from tests.support.proxy import Proxy, proxied
from xdask_pipelines.catalog import Change, open_catalog
from xdask_pipelines.catalog.opensearch import opensearch_index, opensearch_node
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.resources.opensearch.search_node import SearchNode

pytestmark = pytest.mark.opensearch
NUMBER = 6_000


def _restart(node: SearchNode, proxy: Proxy) -> None:
    """As a power cut would, and not at once."""
    os.killpg(json.loads((node.folder / "node.json").read_text())["pid"], signal.SIGKILL)
    sleep(3)
    proxy.node = node.up()


def test_commits_and_searches_outlast_a_node_that_is_killed_and_started_again(
    own_node: SearchNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opensearch_index, "PAGE", 1_000)
    with proxied(own_node.up()) as proxy:
        catalog = open_catalog(proxy.to(proxy.node))
        before = [era5("2011-07", key=f"k/{i:05}", etag="old") for i in range(NUMBER)]
        catalog.commit(Change(before, expected_entries=NUMBER, **ERA5_PLACE))
        found: list[object] = []

        def commit() -> None:
            new = [era5("2011-07", key=f"k/{i:05}", etag="new") for i in range(1, NUMBER + 1)]
            found.append(catalog.commit(Change(new, [before[0].id], expected_entries=NUMBER, **ERA5_PLACE)))

        def search() -> None:
            found.append({e.etag for e in catalog.search()})

        for act, path, number in ((commit, "_bulk", 3), (search, "_search", 4)):
            sent = len([p for _, p in proxy.seen if path in p])
            thread = threading.Thread(target=act)
            thread.start()
            assert eventually(lambda p=path, n=sent + number: len([s for _, s in proxy.seen if p in s]) >= n)
            _restart(own_node, proxy)
            thread.join(120)
            assert not thread.is_alive()
        assert found == [2, {"new"}]
        assert catalog.count() == NUMBER
        assert [t.key for t in catalog.tombstones(**ERA5_PLACE)] == ["k/00000"]


def test_a_node_that_does_not_come_back_is_reported(own_node: SearchNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch_node, "PATIENCE_SECONDS", 3.0)
    with proxied(own_node.up()) as proxy:
        catalog = open_catalog(proxy.to(proxy.node))
        catalog.commit(Change([era5("2011-01")]))
        own_node.down()
        with pytest.raises(CatalogError, match=r"does not answer .*, after \d+ s of retries. Check that it is running"):
            catalog.commit(Change([era5("2011-02")]))
