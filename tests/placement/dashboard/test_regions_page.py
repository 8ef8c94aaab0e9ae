"""The page of Regions is there where a scheduler has a dashboard, on loopback, and costs nobody else anything."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from dask.distributed import Scheduler
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.support.places import EAST, WEST, Cluster
from xdask_pipelines.placement.dashboard.panels import MAX_PAIRS, colour, ranked, table
from xdask_pipelines.placement.dashboard.samples import Load
from xdask_pipelines.placement.local.cluster import Pool, start


def opened(request: urllib.request.Request) -> int:
    try:
        fetch(request)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def fetch(url: str | urllib.request.Request) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        return str(answer.read().decode())


def test_every_page_of_the_dashboard_links_to_the_regions(cluster: Cluster) -> None:
    top = cluster.client.dashboard_link.removesuffix("status")
    for page in ("status", "workers", "regions"):
        assert '<a href="regions">Regions</a>' in fetch(top + page)


def test_page_takes_nothing_from_elsewhere(cluster: Cluster) -> None:
    top = cluster.client.dashboard_link.removesuffix("status")
    sources = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', fetch(top + "regions"))
    assert any("bokeh" in source for source in sources)
    assert [source for source in sources if "//" in source] == []
    assert fetch(top + next(s for s in sources if "bokeh" in s).removeprefix("/"))


def test_dashboard_listens_on_loopback_only(cluster: Cluster) -> None:
    def listening(dask_scheduler: Scheduler | None = None) -> set[str]:
        return {s.getsockname()[0] for s in dask_scheduler.http_server._sockets.values()}  # type: ignore[union-attr]

    assert cluster.client.run_on_scheduler(listening) == {"127.0.0.1"}


@pytest.mark.parametrize(
    "path", ["status", "regions", "status/ws", "json/counts.json", "metrics", "sitemap.json", "none"]
)
@pytest.mark.parametrize(
    "sent",
    [
        {"Host": "evil.example:8787"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    ],
)
def test_dashboard_answers_no_other_origin(cluster: Cluster, path: str, sent: dict[str, str]) -> None:
    request = urllib.request.Request(cluster.client.dashboard_link.removesuffix("status") + path, headers=sent)
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(request)
    assert caught.value.code == 403
    assert json.load(caught.value)["error"]


def test_dashboard_opens_its_websocket_for_its_own_page_only(cluster: Cluster) -> None:
    top = cluster.client.dashboard_link.removesuffix("status")

    async def opens(origin: str) -> bool:
        request = HTTPRequest(top.replace("http", "ws") + "regions/ws", headers={"Origin": origin})
        try:
            socket = await websocket_connect(request, subprotocols=["bokeh", "token"])
        except HTTPClientError as error:
            return error.code != 403
        socket.close()
        return True

    assert asyncio.run(opens(top.removesuffix("/")))
    assert not asyncio.run(opens("http://evil.example"))


def test_configured_hosts_open_the_dashboard(tmp_path: Path) -> None:
    running = start([Pool(EAST)], tmp_path, ui_hosts=["localhost:8080"])
    try:
        for host, code in {"localhost:8080": 200, "localhost:8081": 403}.items():
            request = urllib.request.Request(running.dashboard, headers={"Host": host})
            assert opened(request) == code
    finally:
        running.stop()


def test_workers_do_not_import_bokeh(cluster: Cluster) -> None:
    assert set(cluster.client.run(lambda: "bokeh" in sys.modules).values()) == {False}


@pytest.mark.parametrize("dashboard", [True, False])
def test_scheduler_has_the_page_only_with_a_dashboard(dashboard: bool) -> None:
    async def pages() -> tuple[bool, bool]:
        async with Scheduler(
            host="127.0.0.1",
            port=0,
            dashboard=dashboard,
            dashboard_address="127.0.0.1:0",
            preload=["xdask_pipelines.placement.preload"],
        ) as scheduler:
            paths = [p for a in scheduler.http_application.applications for p in getattr(a, "app_paths", ())]
            return "/regions" in paths, "xdask-samples" in scheduler.periodic_callbacks

    assert asyncio.run(pages()) == (dashboard, dashboard)


def test_table_has_a_row_for_each_region_and_their_sum() -> None:
    html = table({EAST: Load(2, 4, 9, 3, 1, 1000), "<b>odd": Load(1, 1)}, {EAST: 2048, "gone": 1024})
    rows = [re.findall(r"<td[^>]*>(?:<span.*?</span>&nbsp;)?(.*?)</td>", row) for row in html.split("<tr>")[2:]]
    assert rows == [
        [EAST, "2", "4", "3", "6", "1", "1,000", "2.0 kB"],
        ["&lt;b&gt;odd", "1", "1", "0", "0", "0", "0", "0 B"],
        ["<b>all Regions</b>", "3", "5", "3", "6", "1", "1,000", "3.1 kB"],
    ]
    assert "<td" in table({}, {})
    assert f"{EAST} (Max &amp; Planck)" in table({EAST: Load(1, 1)}, {}, {EAST: "Max & Planck"})


def test_regions_have_colours_of_their_own() -> None:
    assert colour(EAST, [EAST, WEST]) != colour(WEST, [EAST, WEST])
    assert colour("eu-west-2", [EAST, WEST]) == "black"


def test_pairs_beyond_the_largest_are_one_bar() -> None:
    across = {f"r-{i}->c": i for i in range(1, MAX_PAIRS + 4)}
    bars = ranked(across)
    assert next(iter(bars)) == f"r-{MAX_PAIRS + 3} → c"
    assert len(bars) == MAX_PAIRS + 1
    assert bars["3 other pairs"] == 1 + 2 + 3
    assert sum(bars.values()) == sum(across.values())
    assert ranked({}) == {}
