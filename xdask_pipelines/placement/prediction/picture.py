"""The picture of a plan: Regions as boxes, transfers as arrows.

Belongs here: drawing. Does not belong here: the numbers (plan).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from math import log10
from textwrap import shorten
from types import MappingProxyType
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from xdask_pipelines.placement.prediction.box_layout import BOX_HEIGHT, BOX_WIDTH, bend, box_places, edge, on_curve
from xdask_pipelines.system.safe_text import drawn
from xdask_pipelines.system.units import format_bytes

_INK, _WORKER, _CLIENT, _ARROW = "#22303c", "#e3eef7", "#f6ead7", "#b5512f"
_BEND = 0.24


def picture(
    client_region: str,
    tasks: Mapping[str, int],
    reading: Mapping[str, int],
    bytes_read: Mapping[str, int],
    bytes_across: Mapping[str, int],
    assigned: Mapping[str, int],
    subtitle: str = "",
    form: Literal["png", "svg"] = "png",
    names: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Draw a plan.

    Parameters
    ----------
    client_region
        Region of the client, which is drawn at the bottom in another colour.
    tasks, reading, bytes_read
        Tasks, tasks that read, and stored bytes that they read, by Region.
    bytes_across
        Bytes by ``"src->dst"``.
    assigned
        Tasks whose Region was chosen to minimise transfers, by Region.
    subtitle
        A line below the title.
    form
        PNG, 1600 pixels wide, or SVG.
    names
        Names for people of Regions that have one.

    Returns
    -------
    The content of the image file.
    """
    pairs = {tuple(pair.split("->")): n for pair, n in bytes_across.items() if n}
    regions = sorted({*tasks, *bytes_read, *(r for pair in pairs for r in pair)} - {client_region})
    places = box_places(regions, client_region)
    figure = Figure(figsize=(10, 5.6), dpi=160, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-5, 5), ylim=(-2.8, 2.8))
    axes.axis("off")
    for (src, dst), n in sorted(pairs.items()):
        _arrow(axes, places[src], places[dst], n, max(pairs.values()))
    for region, (x, y) in places.items():
        lines = (
            [f"{tasks.get(region, 0):,} task{'s' * (tasks.get(region, 0) != 1)}"]
            if region != client_region or tasks.get(region)
            else ["client, scheduler"]
        )
        if bytes_read.get(region):
            readers = reading.get(region, 0)
            lines.append(f"{readers:,} read{'s' * (readers == 1)} {format_bytes(bytes_read[region])}")
        if assigned.get(region):
            lines.append(f"{assigned[region]:,} assigned to save bytes")
        colour = _CLIENT if region == client_region else _WORKER
        _box(axes, x, y, region, shorten(names.get(region, ""), 36, placeholder="…"), lines, colour)
    total = sum(pairs.values())
    read = sum(bytes_read.values())
    title = f"{format_bytes(read)} read at home, {format_bytes(total)} across Regions"
    axes.text(0, 2.7, title, ha="center", va="top", fontsize=15, color=_INK, weight="bold")
    axes.text(0, 2.3, subtitle, ha="center", va="top", fontsize=11, color=_INK)
    out = io.BytesIO()
    figure.savefig(out, format=form)
    return out.getvalue()


def _box(axes: Axes, x: float, y: float, region: str, name: str, lines: list[str], colour: str) -> None:
    corner = (x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2)
    style = "round,pad=0.04,rounding_size=0.12"
    axes.add_patch(
        FancyBboxPatch(
            corner, BOX_WIDTH, BOX_HEIGHT, boxstyle=style, facecolor=colour, edgecolor=_INK, linewidth=1.2, zorder=3
        )
    )
    head = y + (0.32 if name else 0.24)
    axes.text(x, head, region, ha="center", va="center", fontsize=13, weight="bold", color=_INK, zorder=4)
    axes.text(x, head - 0.19, drawn(name), ha="center", va="center", fontsize=9, color=_INK, zorder=4)
    axes.text(x, y - 0.2, "\n".join(lines), ha="center", va="center", fontsize=10.5, color=_INK, zorder=4)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], nbytes: int, most: int) -> None:
    first, last = edge(start, end), edge(end, start)
    width = 1.2 + 4.0 * max(0.0, 1 + log10(nbytes / most) / 4)
    axes.add_patch(
        FancyArrowPatch(
            first,
            last,
            connectionstyle=f"arc3,rad={_BEND}",
            arrowstyle="-|>",
            mutation_scale=12 + 2 * width,
            linewidth=width,
            color=_ARROW,
            alpha=0.85,
            zorder=2,
        )
    )
    # The label is on the curve near its start, because the arrow in the other direction has its own label.
    x, y = on_curve(first, bend(first, last, _BEND), last, 0.36)
    label = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1.5}
    axes.text(x, y, format_bytes(nbytes), ha="center", va="center", fontsize=11, color=_ARROW, zorder=5, bbox=label)
