"""The page of Regions on Dask's dashboard, opened while a computation runs and after it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import dask.array as da
import numpy as np
import pytest
from dask.distributed import Client
from playwright.sync_api import Page, expect

from tests.browser.live_ui import until
from tests.support.places import CENTRAL, CLIENT_REGION, EAST, WEST, Cluster
from xdask_pipelines.placement import Evidence, compute, pin

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_SLOW_SECONDS = 0.25
_BARS = """() => Array.from(Bokeh.documents[0]._all_models.values())
    .filter(m => m.data && m.data.pair && m.data.nbytes)
    .map(m => Object.fromEntries(Array.from(m.data.pair).map((p, i) => [p, m.data.nbytes[i]])))[0]"""


def slow_job(client: Client) -> Evidence:
    """Some seconds of tasks in two Regions, of which the smaller result crosses."""

    def slow(block: np.ndarray) -> np.ndarray:
        time.sleep(_SLOW_SECONDS)
        return block

    east, west = (
        pin(da.ones((blocks * 10, 4000), chunks=(10, 4000)), region).map_blocks(slow, meta=np.empty((0, 0)))
        for region, blocks in ((EAST, 40), (WEST, 16))
    )
    _, evidence = compute(client, east.mean(axis=0) - west.mean(axis=0))
    return evidence


def test_page_shows_a_computation_while_it_runs_and_after(
    cluster: Cluster, page: Page, shot: Callable[[Page, str], None]
) -> None:
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    top = cluster.client.dashboard_link.removesuffix("status")
    page.goto(top + "status")
    page.get_by_role("link", name="Regions").click()  # nobody needs to know the address
    expect(page).to_have_url(top + "regions")
    for region in (EAST, WEST, CENTRAL):
        expect(row(page, region)).to_be_visible()
    assert cells(page, CENTRAL)[:3] == [1, 1, 0]
    before = {region: cells(page, region)[5] for region in (EAST, WEST)}
    crossed_before = page.evaluate(_BARS)

    found: list[Evidence] = []
    job = Thread(target=lambda: found.append(slow_job(cluster.client)))
    job.start()
    until(lambda: cells(page, EAST)[2] == 1 and cells(page, EAST)[3] > 0, "tasks that run and wait, live")
    page.wait_for_timeout(4_000)
    shot(page, "regions-running")
    job.join(60)
    (evidence,) = found

    assert evidence.tasks_by_region.keys() == {EAST, WEST}
    wanted = {region: before[region] + n for region, n in evidence.tasks_by_region.items()}
    until(lambda: {region: cells(page, region)[5] for region in wanted} == wanted, f"{wanted} done")
    assert cells(page, "all Regions")[:5] == [3, 3, 0, 0, 0]
    bars = page.evaluate(_BARS)
    crossed = {pair: n - crossed_before.get(pair, 0) for pair, n in bars.items()}
    assert {pair: n for pair, n in crossed.items() if n} == {
        **{pair.replace("->", " → "): n for pair, n in evidence.bytes_across.items()},
        "total": sum(evidence.bytes_across.values()),
    }
    assert f"{WEST} → {EAST}" in bars
    assert any(pair.endswith(f"→ {CLIENT_REGION}") for pair in bars)
    shot(page, "regions-done")
    assert {url.split("/")[2] for url in asked} == {top.split("/")[2]}, "something came from elsewhere"
    assert failed == []


def test_nothing_is_cut_off_in_a_narrow_window(cluster: Cluster, page: Page, shot: Callable[[Page, str], None]) -> None:
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(cluster.client.dashboard_link.removesuffix("status") + "regions")
    figures = page.locator(".bk-Figure")
    expect(figures).to_have_count(6)
    for text in (EAST, "all Regions"):
        expect(page.get_by_text(text).first).to_be_visible()
    shot(page, "regions-narrow")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    for box in (figure.bounding_box() for figure in figures.all()):
        assert box is not None
        assert box["x"] >= 0
        assert 340 <= box["width"] <= 400 - box["x"]


def row(page: Page, name: str) -> Any:
    return page.get_by_role("row").filter(has_text=name)


def cells(page: Page, name: str) -> list[int]:
    """Whole numbers of a Region's row: workers, threads, running, waiting there, waiting for the pool, done."""
    texts = row(page, name).get_by_role("cell").all_inner_texts()[1:7]
    return [int(re.sub(r"\D", "", text)) for text in texts]
