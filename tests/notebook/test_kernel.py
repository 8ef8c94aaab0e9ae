"""What a person does in a notebook, in a real kernel: plots, restarts, drop-downs."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from nbclient.exceptions import CellExecutionError

from tests.notebook.real_kernel import Kernel, kinds, texts
from xdask_pipelines.notebook import Project
from xdask_pipelines.notebook.selection import Chosen, Selection

REPO = Path(__file__).parents[2]


BEFORE = {"experiment_id": "pre-industrial"}
OPEN = "from xdask_pipelines import open_project\nproject = open_project()"


def test_a_placed_array_plots_and_everything_shows_itself(kernel: Kernel) -> None:
    _, drawn, plotted, evidence, found, shown = kernel.run(
        OPEN,
        "tas = project.open(dataset='models', member_id='r2i1p1f2')\ntas.mean('time').plot();",
        "tas.mean(('lat', 'lon')).plot();",
        "project.evidence",
        "project.search(dataset='models')",
        "project",
    )
    assert "image/png" in kinds(drawn)
    assert "image/png" in kinds(plotted), "a series of a noleap calendar"
    for outputs, words in ((evidence, "us-west-2"), (found, "r3i1p1f2"), (shown, "models")):
        (output,) = outputs
        assert words in output["data"]["text/html"]
    assert "0 misplaced" in texts(evidence)


def test_progress_shows_and_goes(kernel: Kernel) -> None:
    slow = (
        "import dask.array as da, numpy as np\n"
        "from xdask_pipelines.placement import pin\n"
        "def slow(block):\n    from time import sleep\n    sleep(0.4)\n    return block\n"
        "float(pin(da.ones(6, chunks=1), 'us-west-2').map_blocks(slow, meta=np.empty(0)).sum())"
    )
    _, outputs = kernel.run(OPEN, slow)
    assert texts(outputs).endswith("6.0")
    states = kernel.notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    bars = [each["state"] for each in states if each["model_name"] == "IntProgressModel"]
    assert {bar["description"] for bar in bars} == {"us-west-2"}
    words = [each["state"]["value"] for each in states if each["model_name"] == "LabelModel"]
    assert any("/" in label and "tasks" in label for label in words)


def test_a_selection_of_drop_downs_survives_the_kernel(kernel: Kernel, folder: Path) -> None:
    choose = (
        "widgets = project.explore('warm')\n"
        "widgets.list_of('historical', 'dataset').value = 'cmip6'\n"
        "widgets.list_of('projection', 'dataset').value = 'cmip6'\n"
        "widgets.list_of('projection', 'experiment_id').value = 'E1'\n"
        "widgets"
    )
    _, outputs, saved, mapped = kernel.run(
        OPEN,
        choose,
        "print([o[1] for o in widgets.list_of('projection', 'experiment_id').options], project.selections())",
        "widgets.buttons['Compute'].click()\n"
        "print(widgets.result.dims, sorted(widgets.result.sizes.values()), project.evidence.misplaced_tasks)",
    )
    assert "application/vnd.jupyter.widget-view+json" in kinds(outputs)
    assert "[None, 'A1B', 'E1'] ['warm']" in texts(saved)
    assert "('lat', 'lon') [145, 192] 0" in texts(mapped)
    states = kernel.notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    shown = [output for each in states for output in each["state"].get("outputs", ())]
    assert "image/png" in kinds(shown)

    kernel.restart()
    _, again, values, code, plan, saved, gone = kernel.run(
        OPEN,
        "project.selection('warm')",
        "widgets = project.explore('warm')\nprint(widgets.list_of('projection', 'experiment_id').value)",
        "widgets.buttons['Show as code'].click()\nprint(widgets.explorer.code())",
        "widgets.buttons['Plan'].click(); widgets.buttons['Open'].click()",
        "widgets.buttons['Save as an asset'].click()",
        "widgets.dates_of('projection')[0].value = '2300'\nwidgets.output.outputs",
    )
    assert "experiment_id E1" in texts(again)
    assert texts(values).strip() == "E1"
    assert "experiment_id='E1'" in texts(code)
    assert "licence OGL-UK-3.0" in texts(code)
    assert not plan
    assert (folder / "analyses" / "warm.py").exists()
    assert not gone or "error" not in {output["output_type"] for output in gone}


def test_an_error_of_a_drop_down_is_shown_and_no_traceback(kernel: Kernel) -> None:
    _, outputs, first, _ = kernel.run(
        OPEN,
        "widgets = project.explore()\nwidgets.buttons['Compute'].click()\nprint(widgets.buttons['Compute'].disabled)",
        "print(widgets.output.outputs)",
        "widgets.list_of('projection', 'dataset').value = 'models'\n"
        "widgets.dates_of('projection')[0].value = 'tomorrow'",
    )
    assert texts(outputs).strip().endswith("False")
    assert "not chosen yet. Choose dataset" in texts(first)
    assert "Traceback" not in texts(first)
    states = kernel.notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    (shown,) = [output for each in states for output in each["state"].get("outputs", ())]
    assert "'tomorrow' is not a period" in unescape(shown["data"]["text/html"])


def test_the_documentation_runs(kernel: Kernel, project: Project) -> None:
    chosen = {"projection": Chosen("cmip6", {"experiment_id": "A1B"}), "historical": Chosen("cmip6", BEFORE)}
    Selection(project, "warm", chosen).save()
    blocks = re.findall(r"```python\n(.*?)```", (REPO / "docs/notebooks.md").read_text(), re.S)
    opened, found, explored, last = kernel.run(*blocks)
    assert "image/png" in kinds(opened)
    assert "text/html" in kinds(found)
    assert "application/vnd.jupyter.widget-view+json" in kinds(explored)
    assert "historical" in texts(last)


def test_a_foreign_scheduler_is_refused_by_name(kernel: Kernel) -> None:
    with pytest.raises(CellExecutionError, match=r"project\.compute\(x\)"):
        kernel.run(OPEN, "project.open(dataset='models', member_id='r2i1p1f2').compute(scheduler='threads')")
