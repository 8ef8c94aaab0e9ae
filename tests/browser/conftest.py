"""A project with its demo's history, its UI on a free port, and Chromium to look at it; one for all browser tests."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from infra.rehearsal.servers.loopback import free_port
from tests.browser.live_ui import XDASK, Ui, environment, until

#: A page of Dagster's took more than its 5 s to say what it had loaded, on two cores with other work.
expect.set_options(timeout=30_000)
REPO = Path(__file__).parents[2]
_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: A name of another site, which resolves to this machine.
FOREIGN = "foreign.example"
#: Offline, and quiet: a browser that looks for updates fails hundreds of times a minute here.
_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1",
]
_SLOW = '''
import time

import xarray as xr

from xdask_pipelines.assets import analysis


def _wait(block):
    time.sleep(0.5)
    return block


@analysis(units="K")
def slow(climate_signal: xr.DataArray) -> xr.DataArray:
    """A minute of many short tasks."""
    rows = climate_signal.chunk({climate_signal.dims[0]: 1})
    return xr.apply_ufunc(_wait, rows, dask="parallelized", output_dtypes=[float], keep_attrs=True)
'''


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the demo ran, with a slow analysis of its own."""
    root = tmp_path_factory.mktemp("project")
    for name in ("regions.yaml", "dagster.yaml", "workspace.yaml"):
        shutil.copy(REPO / name, root)
    shutil.copytree(REPO / "data", root / "data")
    (root / "analyses").mkdir()
    (root / "analyses" / "slow.py").write_text(_SLOW)
    subprocess.run([XDASK, "demo"], env=environment(root), check=True, capture_output=True, timeout=240)
    return root


@pytest.fixture(scope="session")
def ui(project: Path) -> Iterator[Ui]:
    """`xdask ui` of the project, with pools that it started."""
    port, log = free_port(), project / "ui.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [XDASK, "ui", "--port", str(port)], env=environment(project), stdout=out, stderr=out, start_new_session=True
        )
    try:
        until(lambda: b"asset graph" in log.read_bytes() or process.poll() is not None, "UI up", 240)
        assert process.poll() is None, log.read_text()
        yield Ui(project, f"http://127.0.0.1:{port}", process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail(f"None of {', '.join(_NAMES)} is there. On Debian: apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: Browser) -> Iterator[BrowserContext]:
    """Opens pages that wait patiently: the machine may be busy."""
    context = chromium.new_context(viewport={"width": 1500, "height": 1000})
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def page(window: BrowserContext) -> Page:
    return window.new_page()


@pytest.fixture(scope="session")
def shot() -> Callable[[Page, str], None]:
    """Keeps a picture of a page in var/screenshots."""
    folder = REPO / "var" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")

    return keep
