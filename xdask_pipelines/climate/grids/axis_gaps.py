"""Gaps in an axis of cells, including longitudes of a region that are wrapped around: detection and error messages.

Belongs here: finding a missing row or column among centres, and the advice for it. Does not belong here: edges and
areas (grid).
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
#: How many consecutive large steps can be gaps; a longer run is a coarse part of a grid.
_LONGEST = 3
#: The smallest part of a circle that a region leaves out, in degrees and in steps; less is a globe with missing
#: columns.
_REGION_DEGREES, _REGION_STEPS = 30.0, 3.5
#: Bounds are often stored as float32: 360 degrees then carry a rounding of 3e-5.
TOLERANCE_DEGREES = 1e-4


@dataclass(frozen=True)
class Axis:
    """An axis in messages: its kind, its name in the field, and its file (`axes.origin`)."""

    kind: str
    name: str
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.kind}{self.origin}"

    @property
    def values(self) -> str:
        """Return the code that reads the coordinate of a field."""
        return f"field.{self.name}" if self.name.isidentifier() else f"field[{self.name!r}]"

    def assigned(self, values: str) -> str:
        """Return the code that assigns other values to the coordinate, and sorts the field."""
        keyword = f"{self.name}={values}" if self.name.isidentifier() else f"{{{self.name!r}: {values}}}"
        return f'field = field.assign_coords({keyword}).sortby("{self.name}")'


def gap(kind: str, ascending: Float) -> int | None:
    """Return the number of a step between centres that is a gap; None if all cells can touch.

    Steps are divided into runs within which they change smoothly. A run of at most three steps is a gap if its steps
    are larger than those of the neighbouring runs, and not more in number. A short step to a row at a pole does not
    make the other steps gaps, and a coarse part of a grid is not a gap.

    Parameters
    ----------
    kind
        ``"latitude"`` or ``"longitude"``; with two longitudes, the step around the other side is checked too.
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
    """Return the error for a gap: the step at ``place`` of the sorted centres; ``centres`` are in the field's own order."""
    ascending = np.sort(centres)
    low, high = float(ascending[place]), float(ascending[place + 1])
    if axis.kind == "longitude" and (remedy := _unwrapped(axis, ascending)):
        return ClimateError(
            f"{axis} has no value between {low:g} and {high:g} degrees: the longitudes of a region are wrapped around, so "
            f"its cells do not touch in this order. {remedy}",
            gap=(low, high),
        )
    what = "row" if axis.kind == "latitude" else "column"
    side = (ascending[0], low) if centres[0] <= centres[-1] else (low, ascending[0])
    bounds = (
        ""
        if bounded
        else f"; or, if the cells do touch, add their bounds as coordinates {axis.name}_lower and {axis.name}_upper"
    )
    return ClimateError(
        f"{axis} has a gap between {low:g} and {high:g}: the step is {high - low:g} degrees, the neighbouring steps "
        f"{_beside(ascending, place)}. A {what} is missing, and cells that do not touch have no valid area. Select the "
        f"part on one side of the gap with field.sel({{{axis.name!r}: slice({side[0]:g}, {side[1]:g})}}){bounds}",
        gap=(low, high),
    )


def order_error(axis: Axis, centres: Float, index: int) -> ClimateError:
    """Return the error for an axis that is not monotonic, with the index at which it turns."""
    problem = f"{axis} is not monotonic at index {index}: {centres[index]:g} after {centres[index - 1]:g}"
    ascending = np.sort(centres)
    twice = np.flatnonzero(np.diff(ascending) == 0)
    if twice.size:
        value = ascending[twice[0]]
        places = " and ".join(map(str, np.flatnonzero(centres == value)[:2]))
        return ClimateError(
            f"{problem}; {value:g} occurs twice, at index {places}. Correct the coordinate with field.assign_coords, or "
            f'keep each value once with field.drop_duplicates("{axis.name}")',
            index=index,
        )
    if gap(axis.kind, ascending) is None:
        return ClimateError(f'{problem}; sort the field by it: field = field.sortby("{axis.name}")', index=index)
    if axis.kind == "longitude" and (remedy := _unwrapped(axis, ascending)):
        crosses = "the longitudes of a region are wrapped around"
        return ClimateError(f"{problem}: {crosses}. {remedy}", index=index)
    return ClimateError(
        f'{problem}, and it has gaps. Select a part without gaps with field.isel({{"{axis.name}": slice(start, stop)}})',
        index=index,
    )


def _unwrapped(axis: Axis, ascending: Float) -> str | None:
    """Return the code that makes the longitudes of a region contiguous, as advice; None if no shift does."""
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
