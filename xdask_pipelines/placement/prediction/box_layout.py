"""Where the boxes of Regions are in pictures, and where arrows meet them.

Belongs here: geometry. Does not belong here: drawing (picture, transfers_drawing).
"""

from __future__ import annotations

from math import cos, hypot, pi, sin

BOX_WIDTH, BOX_HEIGHT = 2.3, 1.0
Point = tuple[float, float]


def box_places(regions: list[str], client_region: str) -> dict[str, Point]:
    """Place all Regions on an ellipse: the client at the bottom, the others clockwise from there."""
    names = [client_region, *regions]
    angles = [-pi / 2 - 2 * pi * i / len(names) for i in range(len(names))]
    return {name: (3.5 * cos(angle), 1.65 * sin(angle) - 0.35) for name, angle in zip(names, angles, strict=True)}


def edge(inside: Point, towards: Point) -> Point:
    """Return where the line from a box's centre to a point leaves the box."""
    dx, dy = towards[0] - inside[0], towards[1] - inside[1]
    gap = 0.08 / (hypot(dx, dy) or 1)
    share = min(BOX_WIDTH / 2 / abs(dx) if dx else 1.0, BOX_HEIGHT / 2 / abs(dy) if dy else 1.0)
    return inside[0] + dx * (share + gap), inside[1] + dy * (share + gap)


def bend(start: Point, end: Point, share: float) -> Point:
    """Return the control point of the curve between two points, which bends to its right by a share of its length."""
    (x0, y0), (x1, y1) = start, end
    return (x0 + x1) / 2 + share * (y1 - y0), (y0 + y1) / 2 - share * (x1 - x0)


def on_curve(start: Point, control: Point, end: Point, share: float) -> Point:
    """Return the point of a quadratic curve at a share of its way."""
    a, b, c = (1 - share) ** 2, 2 * share * (1 - share), share**2
    return a * start[0] + b * control[0] + c * end[0], a * start[1] + b * control[1] + c * end[1]
