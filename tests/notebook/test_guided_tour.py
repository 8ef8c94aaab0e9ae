"""The guided tour runs as it is in the repository, and shows the figures of the main job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebook.real_kernel import Kernel, kinds, texts
from xdask_pipelines.notebook import Project

REPO = Path(__file__).parents[2]
TOUR = nbformat.read(REPO / "notebooks" / "temperature_difference.ipynb", as_version=4)
CODE = [cell for cell in TOUR.cells if cell.cell_type == "code"]


def test_the_repository_has_the_tour_without_outputs() -> None:
    nbformat.validate(TOUR)
    assert [cell.source for cell in CODE if cell.outputs or cell.execution_count is not None] == []
    assert max(len(cell.source.splitlines()) for cell in CODE) <= 12, "cells are short"


def test_the_tour_runs_twice_and_shows_the_figures_of_the_main_job(kernel: Kernel, project: Project) -> None:
    for again in (False, True):
        kernel.restart()
        shown = dict(zip([cell.source for cell in CODE], kernel.run(*[cell.source for cell in CODE]), strict=True))

        def of(words: str, shown: dict[str, list[Any]] = shown) -> list[Any]:
            """Return the outputs of the one cell with these words."""
            (outputs,) = [outputs for source, outputs in shown.items() if words in source]
            return outputs

        assert "us-east-1, us-west-2" in texts(of("project = open_project()"))
        assert "application/vnd.jupyter.widget-view+json" in kinds(of("project.explore("))
        (plan,) = of("selection.plan()")
        assert "<svg" in plan["data"]["text/html"] or "<img" in plan["data"]["text/html"], "the picture of the plan"
        evidence = texts(shown["project.evidence"])
        assert "us-east-1" in evidence
        assert "us-west-2" in evidence
        assert "0 misplaced" in evidence
        assert "image/png" in kinds(of("selection.picture("))
        assert texts(of("mean_difference = ")).strip() == "+3.3986 K"
        parts = texts(of("mean_offset, mean_signal = "))
        offset, signal, total = (float(number) for number in re.findall(r"[+-]\d+\.\d+", parts))
        assert total == 3.3986
        assert offset + signal == pytest.approx(total, abs=1.5e-4)
        assert signal == pytest.approx(4.41, abs=0.01)
        assert "image/png" in kinds(of("signal.mean("))
        assert "MB of traffic avoided" in texts(of("evidence.avoided"))
        assert ("exists. Remove it" if again else "saved as") in texts(of("save_as_asset()"))
        ran = texts(of("subprocess.run("))
        assert "misplaced 0" in ran
        assert "results/warmer_than_today" in ran
        assert "3.3986" in ran or "3.40" in ran
    assert project.search(dataset="cmip6", experiment_id="A1B")
