"""Progress says tasks, bytes and seconds left by Region, where somebody can see it."""

from __future__ import annotations

import io
import sys
from typing import Any

import dask.array as da
import numpy as np
import pytest

from xdask_pipelines.notebook import Project
from xdask_pipelines.notebook.progress_display import (
    ProgressDisplay,
    State,
    TerminalLine,
    best_view,
    in_words,
    seconds_left,
)
from xdask_pipelines.placement import pin
from xdask_pipelines.placement.client.scheduler_rpc import RegionProgress

WEST = "us-west-2"


class Recorded:
    """A view that keeps what it is to show."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def show(self, state: State, seconds: float) -> None:
        self.shown.append("; ".join(f"{region} {in_words(at, seconds)}" for region, at in state.items()))

    def clear(self) -> None:
        self.shown.append("cleared")


def test_the_rest_takes_as_long_as_what_is_done() -> None:
    assert seconds_left(RegionProgress(10, 40, 0), 5) == 15
    assert seconds_left(RegionProgress(0, 40, 0), 5) is None
    assert in_words(RegionProgress(10, 40, 7_700_000), 5) == "10/40 tasks, 7.7 MB read, about 15 s left"
    assert in_words(RegionProgress(40, 40, 0), 5) == "40/40 tasks"
    assert in_words(RegionProgress(0, 1_000, 0), 5) == "0/1,000 tasks"


def interrupted(display: ProgressDisplay) -> None:
    with display.shown():
        display({WEST: RegionProgress(2, 4, 0)})
        raise KeyboardInterrupt


def test_what_is_done_at_once_shows_nothing_and_each_computation_begins_anew() -> None:
    view, times = Recorded(), iter([0.0, 0.0, 10.0, 14.0])
    display = ProgressDisplay(lambda: view, lambda: next(times))
    with display.shown():
        display({WEST: RegionProgress(4, 4, 0)})
    assert view.shown == []
    with pytest.raises(KeyboardInterrupt):
        interrupted(display)
    assert view.shown == [f"{WEST} 2/4 tasks, about 4 s left", "cleared"]


def test_a_terminal_gets_one_line_that_is_rewritten_and_nothing_else_any(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "60")
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    line = best_view()
    assert isinstance(line, TerminalLine)
    line.show({WEST: RegionProgress(1, 2, 0), "us-east-1": RegionProgress(0, 12_345, 0)}, 3)
    line.clear()
    shown, cleared = out.getvalue().split("\r\x1b[2K")[1:]
    assert shown == f"{WEST} 1/2 tasks, about 3 s left; us-east-1 0/12,345 tasks"[:59]
    assert cleared == ""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert best_view() is None


def test_a_computation_shows_its_progress(project: Project) -> None:
    def slow(block: Any) -> Any:
        from time import sleep

        sleep(0.4)
        return block

    view = Recorded()
    project._placer.progress._choose = lambda: view
    lazy = pin(da.ones(6, chunks=1), WEST).map_blocks(slow, meta=np.empty(0))
    lazy.compute()
    assert view.shown[-1] == "cleared"
    assert view.shown[-2] == f"{WEST} 6/6 tasks"
    assert any("left" in line for line in view.shown[:-2])
    field = project.open(dataset="models", member_id="r2i1p1f2").data
    project.compute(lazy[:3] + field.sum())
    assert any("read" in line for line in view.shown)
