"""A drawing of what crossed between Regions, as SVG that takes the colour of its page.

Belongs here: drawing evidence. Does not belong here: the picture of a plan, which is an image file (picture).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10

from xdask_pipelines.placement.prediction.box_layout import (
    BOX_HEIGHT,
    BOX_WIDTH,
    Point,
    bend,
    box_places,
    edge,
    on_curve,
)
from xdask_pipelines.system.markup import Markup
from xdask_pipelines.system.safe_text import html
from xdask_pipelines.system.units import counted, format_bytes

_ARROW, _SCALE, _BEND = "#d0672f", 72.0, 0.24


def transfers_drawing(
    tasks: Mapping[str, int], bytes_read: Mapping[str, int], bytes_across: Mapping[str, int]
) -> Markup:
    """Draw Regions as boxes, and the bytes that crossed as arrows.

    Parameters
    ----------
    tasks, bytes_read
        By Region.
    bytes_across
        By ``"src->dst"``.

    Returns
    -------
    An ``svg`` element without scripts; empty if no Region is known. The Region at the bottom is the one that computed
    nothing: that of the client.
    """
    pairs = {(src, dst): n for pair, n in bytes_across.items() if n for src, _, dst in [pair.partition("->")]}
    regions = sorted({*tasks, *bytes_read, *(region for pair in pairs for region in pair)})
    if not regions:
        return Markup()
    bottom = next((region for region in regions if not tasks.get(region)), regions[0])
    places = box_places([region for region in regions if region != bottom], bottom)
    most = max(pairs.values(), default=1)
    parts = [_arrow(places[src], places[dst], n, most) for (src, dst), n in sorted(pairs.items())]
    for region, place in places.items():
        lines = [counted(tasks[region], "task") if tasks.get(region) else "client"]
        if bytes_read.get(region):
            lines.append(f"read {format_bytes(bytes_read[region])}")
        parts.append(_box(place, region, lines))
    said = ", ".join(f"{src} to {dst} {format_bytes(n)}" for (src, dst), n in sorted(pairs.items())) or "nothing"
    return Markup(
        f'<svg role="img" aria-label="{html(f"Crossed between Regions: {said}")}" viewBox="-352 -140 704 330" '
        'style="max-width:44em;width:100%;height:auto;color:inherit;font-family:inherit" fill="none">'
        f"{''.join(parts)}</svg>"
    )


def _at(point: Point) -> Point:
    """Return a point in units of the drawing, whose y axis points down."""
    return round(point[0] * _SCALE, 1), round(-point[1] * _SCALE, 1)


def _box(place: Point, region: str, lines: Sequence[str]) -> str:
    x, y = _at(place)
    width, height = BOX_WIDTH * _SCALE, BOX_HEIGHT * _SCALE
    texts = [
        f'<text x="{x}" y="{y - 10}" text-anchor="middle" font-size="15" font-weight="600" fill="currentColor">'
        f"{html(region)}</text>"
    ]
    texts += [
        f'<text x="{x}" y="{y + 9 + 15 * i}" text-anchor="middle" font-size="12" fill="currentColor">{html(line)}</text>'
        for i, line in enumerate(lines)
    ]
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="9" '
        f'stroke="currentColor" fill="rgba(128,128,128,0.12)"/>{"".join(texts)}'
    )


def _arrow(src: Point, dst: Point, nbytes: int, most: int) -> str:
    start, end = edge(src, dst), edge(dst, src)
    control = bend(start, end, _BEND)
    width = 1.2 + 3.0 * max(0.0, 1 + log10(nbytes / most) / 4)
    (x0, y0), (x1, y1), (x2, y2) = _at(start), _at(control), _at(end)
    # The label is outside of the bend, where it does not hide the curve.
    x, y = _at(on_curve(start, control, end, 0.4))
    outwards = (x1 - (x0 + x2) / 2, y1 - (y0 + y2) / 2)
    off = (outwards[0] ** 2 + outwards[1] ** 2) ** 0.5 or 1.0
    x, y = round(x + 30 * outwards[0] / off, 1), round(y + 15 * outwards[1] / off + 4, 1)
    # The head points from the control point to the end of the curve.
    dx, dy = x2 - x1, y2 - y1
    length = (dx**2 + dy**2) ** 0.5 or 1.0
    ux, uy, size = dx / length, dy / length, 5 + 2 * width
    left = f"{x2 - size * ux - size / 2 * uy:.1f},{y2 - size * uy + size / 2 * ux:.1f}"
    right = f"{x2 - size * ux + size / 2 * uy:.1f},{y2 - size * uy - size / 2 * ux:.1f}"
    return (
        f'<path d="M{x0} {y0} Q{x1} {y1} {x2} {y2}" stroke="{_ARROW}" stroke-width="{width:.1f}"/>'
        f'<polygon points="{x2},{y2} {left} {right}" fill="{_ARROW}"/>'
        f'<text x="{x}" y="{y}" text-anchor="middle" font-size="12" font-weight="600" fill="{_ARROW}">'
        f"{html(format_bytes(nbytes))}</text>"
    )
