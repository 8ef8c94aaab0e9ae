"""The UI as a person uses it, in headless Chromium: looking, launching twice at once, failing, terminating, stopping."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from distributed import Client
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.live_ui import XDASK, Ui, environment, processes_of, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_WHEN = re.compile(r"^[A-Z][a-z]{2} \d+, \d+:\d\d [AP]M$")
Shot = Callable[[Page, str], None]
MAIN = "temperature_difference"
GROUP = quote('group:"temperature"', safe="")
PAIR = quote(f'key:"cmip6_predicted_tas_regridded" or key:"{MAIN}"', safe="")


def on_scheduler(ui: Ui) -> dict[str, Any]:
    """Tasks, and clients that are neither this one nor the scheduler's own."""

    def look(dask_scheduler: Any) -> dict[str, Any]:
        clients = [c for c in dask_scheduler.clients if c.startswith("Client-")]
        return {"tasks": len(dask_scheduler.tasks), "clients": len(clients)}

    address = json.loads((ui.root / "var" / "pools" / "pools.json").read_text())["address"]
    with Client(address, timeout=20, set_as_default=False) as client:
        seen = client.run_on_scheduler(look)
    return {**seen, "clients": seen["clients"] - 1}


def launch_slow(ui: Ui, page: Page) -> str:
    """Materialize the slow asset, and wait until its tasks are on the scheduler."""
    known = ui.runs()
    page.goto(f"{ui.url}/assets/slow")
    page.get_by_role("button", name="Materialize").click()
    (run_id,) = ui.new_runs(known)
    until(lambda: on_scheduler(ui)["tasks"] > 20, "slow tasks on the scheduler")
    return run_id


def test_ui_opens_on_the_asset_graph_with_the_history_of_the_demo(ui: Ui, page: Page, shot: Shot) -> None:
    where = re.search(r"http://\S+", ui.log.read_text())
    assert where is not None
    page.goto(where[0])
    page.get_by_text("temperature", exact=True).first.wait_for()
    shot(page, "asset-groups")
    page.goto(f"{ui.url}/asset-groups~{GROUP}/")
    expect(page.get_by_text("Materialized").nth(5)).to_be_visible()  # by the demo: six whole assets,
    expect(page.get_by_text("% filled")).to_be_visible()  # and a month of the one with partitions
    shot(page, "asset-graph")
    assert page.get_by_text("newsletter").count() == 0


def test_the_jobs_page_shows_the_runs_of_the_demo(ui: Ui, page: Page, shot: Shot) -> None:
    page.goto(f"{ui.url}/jobs")
    for name in ("compare_temperatures", "sync_datasets"):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    expect(page.get_by_text(re.compile("ago$"))).to_have_count(2)
    shot(page, "jobs")


def test_two_scenarios_launched_at_once_end_each_with_its_own_evidence(
    ui: Ui, window: BrowserContext, shot: Shot
) -> None:
    known = ui.runs()
    plain, chosen = window.new_page(), window.new_page()
    for page in (plain, chosen):
        page.goto(f"{ui.url}/asset-groups~{PAIR}/")
        page.get_by_role("button", name="Materialize all").wait_for()
    chosen.get_by_role("button", name="Materialize all").locator("xpath=following::button[1]").click()
    chosen.get_by_text("Open launchpad").click()
    editor = chosen.locator(".CodeMirror").last
    editor.get_by_text("A1B", exact=True).dblclick()  # the defaults are there to be changed
    chosen.keyboard.type("E1")
    assert "experiment_id: E1" in editor.evaluate("e => e.CodeMirror.getValue()")
    expect(chosen.get_by_text("No errors")).to_be_visible()
    shot(chosen, "launchpad-E1")
    plain.get_by_role("button", name="Materialize all").click()
    chosen.get_by_role("button", name=re.compile("Materialize$")).last.click()

    ids = ui.new_runs(known, 2)
    shot(plain, "two-runs-at-once")
    runs = [ui.ended(run_id) for run_id in ids]
    assert [run["status"] for run in runs] == ["SUCCESS", "SUCCESS"]
    assert max(run["creationTime"] for run in runs) < min(run["endTime"] for run in runs), "they were not at once"
    said = {run_id: ui.metadata(run_id, MAIN) for run_id in ids}
    means = {m["experiments"]: m["area_weighted_mean"] for m in said.values()}
    assert means == {"A1B": pytest.approx(3.3986, abs=2e-4), "E1": pytest.approx(1.1177, abs=2e-4)}
    for run_id, metadata in said.items():
        assert metadata["misplaced_tasks"] == metadata["evidence"]["misplaced_tasks"] == 0
        assert set(metadata["evidence"]["tasks_by_region"]) == {"us-east-1", "us-west-2"}
        assert run_id in metadata["store"]
        assert metadata["dashboard"] in ui.log.read_text()
        assert "Copernicus" in metadata["attribution"]
        assert "Met Office" in metadata["attribution"]

    for run_id in ids:
        plain.goto(f"{ui.url}/runs/{run_id}")
        expect(plain.get_by_text("Success", exact=True).first).to_be_visible()
        expect(plain.get_by_text("RUN_SUCCESS")).to_be_visible()
        shot(plain, f"run-{said[run_id]['experiments']}")
    plain.goto(f"{ui.url}/assets/{MAIN}?view=events")
    seen = set()
    for newest in (0, 1):
        plain.get_by_text(_WHEN).nth(newest).click()
        expect(plain.get_by_text("Materialized in run").locator("xpath=following::a[1]")).not_to_have_text(
            re.compile("|".join(run_id[:8] for run_id in seen) or "^$")
        )
        (run_id,) = [i for i in ids if plain.get_by_role("link", name=i[:8]).is_visible()]
        row = plain.get_by_role("row").filter(has_text="misplaced_tasks")
        expect(row.get_by_role("cell").nth(1)).to_have_text("0")
        mean = plain.get_by_role("row").filter(has_text="area_weighted_mean")
        expect(mean.get_by_role("cell").nth(1)).to_have_text(str(said[run_id]["area_weighted_mean"]))
        link = plain.get_by_role("link", name=said[run_id]["dashboard"])
        expect(link).to_have_attribute("href", re.compile("^http://127.0.0.1:[0-9]+/regions$"))
        shot(plain, f"evidence-{said[run_id]['experiments']}")
        seen.add(run_id)
    assert seen == set(ids)


def test_asset_page_shows_the_map(ui: Ui, page: Page, shot: Shot) -> None:
    page.goto(f"{ui.url}/assets/{MAIN}")
    page.get_by_text("area_weighted_mean").wait_for()
    first = page.get_by_role("row").filter(has_text="result").first
    small = first.locator("img[src^='/xdask/pictures/']")
    expect(small).to_be_visible()
    until(lambda: small.evaluate("e => e.complete"), "small picture decoded")
    assert small.evaluate("e => [e.naturalWidth, e.getBoundingClientRect().width]") == [460, 460]
    newest = re.search("A1B|E1", first.inner_text())  # of two runs at once, either may have ended last
    assert newest
    expect(first).to_contain_text({"A1B": "3.40 K", "E1": "1.12 K"}[newest[0]])
    shot(page, "asset-page")
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[src^='data:image/png']")
    expect(picture).to_be_visible()
    until(lambda: picture.evaluate("e => e.complete"), "picture decoded")
    assert picture.evaluate("e => [e.naturalWidth > 600, e.naturalHeight > 400]") == [True, True]
    shot(page, "map")


def test_terminating_a_run_leaves_no_task_on_the_scheduler(ui: Ui, page: Page, shot: Shot) -> None:
    run_id = launch_slow(ui, page)
    page.goto(f"{ui.url}/runs/{run_id}")
    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("button", name="Terminate").last.click()
    assert ui.ended(run_id)["status"] == "CANCELED"
    assert until(lambda: (seen := on_scheduler(ui)) == {"tasks": 0, "clients": 0} and seen, "empty scheduler", 20)
    shot(page, "terminated")


def test_failed_run_says_what_to_do_without_a_traceback_opened(ui: Ui, page: Page, shot: Shot) -> None:
    ui.xdask("pools", "down")
    try:
        known = ui.runs()
        page.goto(f"{ui.url}/assets/climate_signal")
        page.get_by_role("button", name="Materialize").click()
        (run_id,) = ui.new_runs(known)
        assert ui.ended(run_id)["status"] == "FAILURE"
        page.goto(f"{ui.url}/runs/{run_id}")
        remedy = page.get_by_text("The pools are not running. Start them with `xdask pools up`").first
        expect(remedy).to_be_visible()
        shot(page, "failed-run")
        page.goto(f"{ui.url}/assets/climate_signal")
        expect(page.get_by_text("Failed in")).to_be_visible()
        expect(page.get_by_role("link", name=run_id[:8]).first).to_be_visible()
        shot(page, "failed-asset")
    finally:
        ui.xdask("pools", "up")


def test_second_ui_of_a_project_is_refused_and_doctor_finds_the_first(ui: Ui) -> None:
    again = subprocess.run([XDASK, "ui"], env=environment(ui.root), capture_output=True, text=True, timeout=60)
    assert again.returncode == 1
    assert f"is already running, at {ui.url}/asset-groups (process {ui.process.pid})" in again.stderr
    found = json.loads(ui.xdask("doctor", "--json"))
    assert found["ok"], found
    assert any(f["about"] == "ui" and str(ui.process.pid) in f["said"] for f in found["findings"])


def test_ctrl_c_cancels_runs_and_leaves_no_process(ui: Ui, page: Page) -> None:
    run_id = launch_slow(ui, page)
    assert len(processes_of(ui.root)) > 8
    ui.process.send_signal(signal.SIGINT)
    assert ui.process.wait(60) == 0
    assert processes_of(ui.root) == {}
    assert ui.log.read_text().endswith(f"cancelling run {run_id[:8]}\nall stopped\n")
    import dagster as dg

    with dg.DagsterInstance.from_config(str(ui.root / "var" / "dagster")) as history:
        run = history.get_run_by_id(run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.CANCELED
