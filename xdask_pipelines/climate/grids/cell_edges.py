"""Edges of cells along one axis: midpoints between centres, or bounds that are checked.

Belongs here: checks of centres and bounds. Does not belong here: areas and identity of cells (``grid``), missing rows
and columns (``axis_gaps``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xdask_pipelines.climate.grids.axis_gaps import TOLERANCE_DEGREES, Axis, gap_error, order_error
from xdask_pipelines.errors import ClimateError

Float = NDArray[np.float64]


def check_centres(axis: Axis, centres: Float) -> None:
    """Raise ``ClimateError``, with the index, if centres cannot be an axis of cells."""
    if centres.ndim != 1 or centres.size < 2:
        raise ClimateError(
            f"{axis} needs one dimension of at least 2 values, not shape {centres.shape}: the size of a single cell is "
            "unknown"
        )
    bad = np.flatnonzero(~np.isfinite(centres))
    if bad.size:
        raise ClimateError(
            f"{axis} at index {bad[0]} is {centres[bad[0]]}; the coordinate is corrupt. Correct it with field.assign_coords",
            index=int(bad[0]),
        )
    steps = np.diff(centres)
    bad = np.flatnonzero(np.sign(steps) * np.sign(steps[0]) <= 0) if steps[0] else np.array([0])
    if bad.size:
        raise order_error(axis, centres, int(bad[0]) + 1)
    if axis.kind == "latitude":
        bad = np.flatnonzero(np.abs(centres) > 90.0 + TOLERANCE_DEGREES)
        if bad.size:
            raise ClimateError(
                f"latitude {centres[bad[0]]:g} at index {bad[0]}{axis.origin} is beyond a pole. Correct the coordinate with "
                "field.assign_coords",
                index=int(bad[0]),
            )
    elif np.ptp(centres) >= 360.0 - TOLERANCE_DEGREES:
        i = int(np.argmax(np.abs(centres - centres[0]) >= 360.0 - TOLERANCE_DEGREES))
        raise ClimateError(
            f"longitude {centres[i]:g} at index {i}{axis.origin} comes 360 degrees or more after {centres[0]:g}; "
            f"drop the duplicate columns: field.isel({{{axis.name!r}: slice(0, {i})}})",
            index=i,
        )


def midpoints(kind: str, ascending: Float) -> Float:
    """Return the edges of cells from their centres, both ascending."""
    inner = (ascending[1:] + ascending[:-1]) / 2
    first = ascending[0] - (ascending[1] - ascending[0]) / 2
    last = ascending[-1] + (ascending[-1] - ascending[-2]) / 2
    if kind == "latitude":
        if first + 90.0 < (ascending[1] - ascending[0]) / 2:
            first = -90.0
        if 90.0 - last < (ascending[-1] - ascending[-2]) / 2:
            last = 90.0
    else:
        across = 360.0 - (ascending[-1] - ascending[0])
        if across < 1.5 * max(ascending[1] - ascending[0], ascending[-1] - ascending[-2]):
            first = (ascending[0] + ascending[-1] - 360.0) / 2
            last = first + 360.0
    return np.concatenate([[first], inner, [last]])


def edges_of_bounds(axis: Axis, centres: Float, ends: ArrayLike, other_ends: ArrayLike, place: int | None) -> Float:
    """Return ascending edges from bounds without gaps and overlaps; ``place`` is the position of a gap among centres."""
    remedy = f'Drop the bounds, so that midpoints are used: field.drop_vars(["{axis.name}_lower", "{axis.name}_upper"])'
    pair = np.sort(np.stack([np.asarray(ends, np.float64), np.asarray(other_ends, np.float64)]), axis=0)
    if pair.shape != (2, centres.size) or not np.isfinite(pair).all():
        raise ClimateError(
            f"the bounds of {axis} are not two finite values for each cell (shape {pair.shape}). {remedy}"
        )
    if axis.kind == "longitude":
        if centres.size > 2:  # 357.5 to 2.5 is a cell across the meridian, not one of 355 degrees
            pair = np.where(pair[1] - pair[0] > 180.0, np.stack([pair[1] - 360.0, pair[0]]), pair)
        # bounds may be shifted by 360 degrees from their centre
        pair += 360.0 * np.round((centres - pair.mean(axis=0)) / 360.0)
    outside = np.flatnonzero((centres < pair[0] - TOLERANCE_DEGREES) | (centres > pair[1] + TOLERANCE_DEGREES))
    if outside.size:
        i = int(outside[0])
        raise ClimateError(
            f"{axis.kind} {centres[i]:g} at index {i}{axis.origin} lies outside its bounds {pair[0, i]:g} to "
            f"{pair[1, i]:g}. {remedy}",
            index=i,
        )
    order = np.argsort(centres)
    lower, upper = pair[:, order]
    apart = np.flatnonzero(np.abs(lower[1:] - upper[:-1]) > TOLERANCE_DEGREES)
    if apart.size:
        if place is not None:
            raise gap_error(axis, centres, place, bounded=True)
        i = int(order[apart[0] + 1])
        raise ClimateError(
            f"the bounds of {axis} leave a gap or overlap at index {i} ({centres[i]:g}): one cell ends at "
            f"{upper[apart[0]]:g}, the next begins at {lower[apart[0] + 1]:g}. {remedy}",
            index=i,
        )
    edges = np.append(lower, upper[-1])
    if axis.kind == "latitude":
        for end, pole in ((0, -90.0), (-1, 90.0)):
            if abs(edges[end] - pole) < TOLERANCE_DEGREES:
                edges[end] = pole
        if edges[0] < -90.0 or edges[-1] > 90.0:
            raise ClimateError(
                f"the bounds of {axis} reach from {edges[0]:g} to {edges[-1]:g}, beyond a pole. {remedy}"
            )
    elif abs(edges[-1] - edges[0] - 360.0) < TOLERANCE_DEGREES:
        edges[-1] = edges[0] + 360.0
    elif edges[-1] - edges[0] > 360.0:
        raise ClimateError(
            f"the bounds of {axis} span {edges[-1] - edges[0]:g} degrees, from {edges[0]:g} to {edges[-1]:g}: cells "
            f"overlap at the seam. {remedy}"
        )
    return edges
