"""Gaps in an axis of cells, and axes that are cut where a region goes on: what is said, and what to do.

Belongs here: finding a missing row or column among centres, and the remedy. Does not belong here: edges and areas (grid).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xdask_pipelines.errors import ClimateError

Float = NDArray[np.float64]

#: A step of more than this multiple of the step next to it is a jump. One missing column makes a step of 2; steps of
#: stretched and of Gaussian grids change by less than 1.3 from one to the next.
_JUMP = 1.5
#: Steps in a row that can be gaps, with a lone column between two of them; more are a coarse part of a grid.
_LONGEST = 3
#: What a region leaves out: at least so many degrees and so many steps. Less is a globe that lacks columns.
_REGION_DEGREES, _REGION_STEPS = 30.0, 3.5
#: Bounds are often stored as float32: 360 degrees then carry a rounding of 3e-5.
TOLERANCE_DEGREES = 1e-4


@dataclass(frozen=True)
class Axis:
    """An axis as messages name it: its kind, its name in the field, and where it comes from (`axes.origin`)."""

    kind: str
    name: str
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.kind}{self.origin}"

    @property
    def values(self) -> str:
        """How code gets the coordinate of a field."""
        return f"field.{self.name}" if self.name.isidentifier() else f"field[{self.name!r}]"

    def assigned(self, values: str) -> str:
        """Code that gives the field other values of this coordinate, and sorts it."""
        keyword = f"{self.name}={values}" if self.name.isidentifier() else f"{{{self.name!r}: {values}}}"
        return f'field = field.assign_coords({keyword}).sortby("{self.name}")'


def gap(kind: str, ascending: Float) -> int | None:
    """Number of the step that is a gap among centres, or None if the cells between them can touch.

    Steps are cut into runs of steps that change smoothly. A run of at most three steps is a gap if its steps are larger
    than those beside it and not more in number: many small steps with a large one among them miss something where the
    large one is. A short step to a row at a pole makes no gap of the others, and a coarse part of a grid is none.

    Parameters
    ----------
    kind
        ``"latitude"`` or ``"longitude"``; two longitudes are also compared with the way round the other side.
    ascending
        Centres in degrees, shape (n,), n >= 2.
    """
    steps = np.diff(ascending)
    if steps.size == 1:
        across = 360.0 - steps[0]
        return 0 if kind == "longitude" and steps[0] > _JUMP * across + TOLERANCE_DEGREES else None
    larger, smaller = np.maximum(steps[1:], steps[:-1]), np.minimum(steps[1:], steps[:-1])
    jumps = np.flatnonzero(larger > _JUMP * smaller + TOLERANCE_DEGREES) + 1
    bounds = [0, *jumps.tolist(), steps.size]
    for run, (start, stop) in enumerate(pairwise(bounds)):
        beside = []
        if start > 0:
            beside.append((steps[start] > steps[start - 1], start - bounds[run - 1]))
        if stop < steps.size:
            beside.append((steps[stop - 1] > steps[stop], bounds[run + 2] - stop))
        length = stop - start
        if beside and length <= _LONGEST and all(is_larger and length <= others for is_larger, others in beside):
            return start
    return None


def gap_error(axis: Axis, centres: Float, place: int, bounded: bool = False) -> ClimateError:
    """The error for a gap: the step at ``place`` among the sorted centres, which are in the field's own order here."""
    ascending = np.sort(centres)
    low, high = float(ascending[place]), float(ascending[place + 1])
    if axis.kind == "longitude" and (remedy := _unwrapped(axis, ascending)):
        return ClimateError(
            f"{axis} has no value between {low:g} and {high:g} degrees: the longitudes of a region are wrapped around, so "
            f"that its cells do not touch in this order. {remedy}",
            gap=(low, high),
        )
    what = "row" if axis.kind == "latitude" else "column"
    side = (ascending[0], low) if centres[0] <= centres[-1] else (low, ascending[0])
    bounds = (
        ""
        if bounded
        else f", or, if the cells do touch, give their ends as coordinates {axis.name}_lower and {axis.name}_upper"
    )
    return ClimateError(
        f"{axis} has a gap between {low:g} and {high:g}: the step is {high - low:g} degrees, those beside it "
        f"{_beside(ascending, place)}. A {what} is missing there, and cells that do not touch have no sound area. Take the "
        f"part on one side of the gap, field.sel({{{axis.name!r}: slice({side[0]:g}, {side[1]:g})}}){bounds}",
        gap=(low, high),
    )


def order_error(axis: Axis, centres: Float, index: int) -> ClimateError:
    """The error for an axis that neither rises nor falls all along, at the index where it turns."""
    said = f"{axis} is not monotonic at index {index}: {centres[index]:g} after {centres[index - 1]:g}"
    ascending = np.sort(centres)
    twice = np.flatnonzero(np.diff(ascending) == 0)
    if twice.size:
        value = ascending[twice[0]]
        places = " and ".join(map(str, np.flatnonzero(centres == value)[:2]))
        return ClimateError(
            f"{said}; {value:g} is there twice, at index {places}. Correct the coordinate with field.assign_coords, or keep "
            f'each value once with field.drop_duplicates("{axis.name}")',
            index=index,
        )
    if gap(axis.kind, ascending) is None:
        return ClimateError(f'{said}; sort the field by it: field = field.sortby("{axis.name}")', index=index)
    if axis.kind == "longitude" and (remedy := _unwrapped(axis, ascending)):
        crosses = "the longitudes of a region are wrapped around"
        return ClimateError(f"{said}: {crosses}. {remedy}", index=index)
    return ClimateError(
        f'{said}, and it has gaps. Take a part without gaps with field.isel({{"{axis.name}": slice(start, stop)}})',
        index=index,
    )


def _unwrapped(axis: Axis, ascending: Float) -> str | None:
    """Code that makes a region one piece, with what it gives; None if the columns are none, however they are cut."""
    around = np.sort(ascending % 360.0)
    steps = np.append(np.diff(around), around[0] + 360.0 - around[-1])
    others = np.delete(steps, np.argmax(steps))
    if steps.max() < max(_REGION_DEGREES, _REGION_STEPS * np.median(others)):
        return None  # a globe that lacks columns, not a region
    first = float(around[(int(np.argmax(steps)) + 1) % around.size])
    starts = {-180.0: "({0} + 180) % 360 - 180", 0.0: "{0} % 360"}
    starts.setdefault(first - 360.0, f"({{0}} + {360.0 - first:g}) % 360 - {360.0 - first:g}")
    for start, formula in starts.items():
        turned = np.sort((ascending - start) % 360.0 + start)
        if turned[-1] - turned[0] < 360.0 - TOLERANCE_DEGREES and gap("longitude", turned) is None:
            code = axis.assigned(formula.format(axis.values))
            return f"Unwrap them to {turned[0]:g} to {turned[-1]:g}: `{code}`"
    return None


def _beside(ascending: Float, place: int) -> str:
    steps = np.diff(ascending)
    near = [steps[i] for i in (place - 1, place + 1) if 0 <= i < steps.size]
    return " and ".join(dict.fromkeys(f"{step:g}" for step in near)) or f"{360.0 - steps[place]:g}"
