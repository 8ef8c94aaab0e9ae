"""Series of every calendar can be plotted: as datetime64 where numpy has them, else by nc-time-axis."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from xdask_pipelines.notebook import Project


@pytest.mark.parametrize(("member", "kind"), [("r1i1p1f2", "O"), ("r2i1p1f2", "O"), ("r3i1p1f2", "M")])
def test_a_series_of_any_calendar_plots(project: Project, member: str, kind: str) -> None:
    series = project.open(dataset="models", member_id=member).mean(("lat", "lon"))
    assert series.time.dtype.kind == kind
    try:
        (line,) = series.plot()
        line.figure.canvas.draw()
        assert np.isfinite(line.get_ydata()).all()
        assert any("2015" in label.get_text() for label in line.axes.get_xticklabels())
    finally:
        plt.close("all")


def test_by_name_and_by_itself_have_the_same_times(project: Project) -> None:
    series = project.open(dataset="models", member_id="r3i1p1f2").mean(("lat", "lon"))
    assert project.compute(series).identical(series.compute())
    assert series.sel(time="2016").sizes["time"] == 12
