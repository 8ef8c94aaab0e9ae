"""`project.explore()` in JupyterLab: a person picks in the drop-downs, computes, and sees the map."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from infra.rehearsal.servers.loopback import free_port
from tests.browser.live_ui import XDASK, environment, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
CELL = "from xdask_pipelines import open_project\nproject = open_project()\nproject.explore('warm')"


@pytest.fixture(scope="module")
def lab(project: Path) -> Iterator[str]:
    """The address of a notebook in JupyterLab, with its token; the pools run."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, project / "pick.ipynb")
    subprocess.run([XDASK, "pools", "up"], env=environment(project), cwd=project, check=True, capture_output=True)
    port, log = free_port(), project / "lab.log"
    # Extensions of packages that are not installed but on the path.
    shared = [
        str(Path(folder) / "share/jupyter") for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder
    ]
    variables = {**environment(project), "JUPYTER_PATH": os.pathsep.join(shared)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [XDASK, "notebook", "--no-browser", "--port", str(port)], cwd=project, env=variables, stdout=out, stderr=out
        )
    try:
        until(lambda: b"?token=" in log.read_bytes() or process.poll() is not None, "JupyterLab up", 120)
        assert process.poll() is None, log.read_text()
        found = re.search(r"\?token=(\w+)", log.read_text())
        assert found is not None
        yield f"http://127.0.0.1:{port}/lab/tree/pick.ipynb?token={found.group(1)}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        subprocess.run([XDASK, "pools", "down"], env=environment(project), cwd=project, check=True, capture_output=True)


def test_picks_in_the_lists_and_sees_the_map(lab: str, page: Page, shot: Callable[[Page, str], None]) -> None:
    page.goto(lab)
    cell = page.locator(".jp-CodeCell").first
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-OutputArea").first
    experiment = output.locator("select", has=page.locator("option", has_text="A1B"))
    expect(output.locator("button", has_text="Compute")).to_be_visible(timeout=60_000)
    datasets = output.locator("select", has=page.locator("option", has_text=re.compile("^cmip6")))
    datasets.first.select_option(label="cmip6 (1)")
    shot(page, "explore-lists")
    expect(experiment).to_be_visible()
    experiment.select_option(label="A1B: SRES A1B, medium emissions (1)")
    expect(output.get_by_text(re.compile(r"1 entry, .* in us-west-2")).last).to_be_visible()
    shot(page, "explore-picked")
    output.locator("button", has_text="Compute").click()
    picture = output.locator("img[src^='data:image/png']")
    expect(picture).to_be_visible(timeout=60_000)
    expect(output.get_by_text(re.compile("0 misplaced"))).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 500
    shot(page, "explore-map")
