"""The picture: seconds and speed-up against processes, each point labelled as measured, simulated or published.

Belongs here: drawing. Does not belong here: figures (__main__, published).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.scale import published

#: Seconds by number of processes in each pool.
Line = Mapping[int, float]
Lines = Mapping[str, Line]
_COLOURS = {published.CMIP6: "#3b7d4f", published.ERA5: "#2b5d8c", published.DIFFERENCE: "#b5512f"}
_PROCESSES = [task * published.PROCESSES_OF_A_TASK for task in published.TASKS]
_NOTE = (
    "Simulated: list scheduling of the recorded tasks, with their measured times and the link rates of the topology. "
    "It does not wait for a file system; the published runs did.\nMeasured: two cores, which the scheduler, the client and "
    "other work share; with two processes each task took longer."
)


def draw(file: Path, measured: Lines, small: Lines, decade: Lines) -> None:
    """Write the picture.

    Parameters
    ----------
    file
        PNG file.
    measured, small
        The jobs on 120 short months: measured here, and simulated for any number of processes.
    decade
        The jobs on ten years of whole months, simulated.
    """
    figure = Figure(figsize=(13, 6.6), dpi=110, facecolor="white")
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.9, bottom=0.3, wspace=0.16)
    for job, colour in _COLOURS.items():
        theirs = dict(zip(_PROCESSES, published.SECONDS[job], strict=True))
        for axes, base in ((left, None), (right, 1)):
            _plot(axes, measured[job], base, color=colour, marker="o", linestyle="", markersize=8)
            _plot(axes, small[job], base, color=colour, linestyle=":", linewidth=1.6)
        for axes, base in ((left, None), (right, _PROCESSES[0])):
            _plot(axes, decade[job], base, color=colour, linewidth=2)
            _plot(axes, theirs, base, color=colour, marker="x", linestyle="", markersize=9, markeredgewidth=2)
    ideal = {1: 1.0, 12: 1 / 12}
    _plot(right, ideal, 1, color="#999999", linewidth=1, linestyle="--")
    left.set_title("Seconds")
    left.set(xlabel="worker processes in each pool", ylabel="seconds")
    left.set_xticks([1, 2, 4, 8, 20, 40, 80, 120])
    right.set_title("Speed-up against the smallest pool")
    right.set(
        xlabel="multiples of the smallest pool: 1 process (dotted, points) or 20 (solid, crosses)",
        ylabel="times as fast",
    )
    right.set_xticks([1, 2, 4, 6, 8, 12])
    right.set_yticks([1, 2, 4, 6, 8, 12])
    for axes in (left, right):
        axes.grid(alpha=0.25)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter("{x:g}")
    _legend(figure, left)
    figure.savefig(file)


def _plot(axes: Axes, line: Line, base: int | None, **style: object) -> None:
    """Draw seconds, or with a base the speed-up against so many processes."""
    points = sorted(line.items())
    x = [n / (base or 1) for n, _ in points]
    y = [seconds if base is None else line[base] / seconds for _, seconds in points]
    axes.loglog(x, y, **style)


def _legend(figure: Figure, axes: Axes) -> None:
    kinds = {
        "measured here, 120 months of one day": {"marker": "o", "linestyle": ""},
        "simulated, 120 months of one day": {"linestyle": ":"},
        "simulated, ten years of whole months": {"linestyle": "-", "linewidth": 2},
        "published, ten years of whole months, another system": {"marker": "x", "linestyle": "", "markeredgewidth": 2},
        "ideal": {"linestyle": "--", "color": "#999999"},
    }
    jobs = [axes.plot([], [], color=colour, linewidth=6, label=job)[0] for job, colour in _COLOURS.items()]
    marks = [axes.plot([], [], **{"color": "#333333", **style}, label=name)[0] for name, style in kinds.items()]
    figure.legend(handles=[*jobs, *marks], loc="lower center", ncols=4, frameon=False, bbox_to_anchor=(0.5, 0.075))
    figure.text(0.5, 0.02, _NOTE, ha="center", fontsize=9, color="#444444")
