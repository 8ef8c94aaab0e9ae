"""Rectangular grids of latitude and longitude cells on the unit sphere: edges, exact areas, identity.

Belongs here: the geometry of cells and its checks. Does not belong here: moving values between grids (``regrid``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xdask_pipelines.climate.axes import carried_bounds, horizontal_names
from xdask_pipelines.errors import ClimateError

Float = NDArray[np.float64]

# Bounds are often stored as float32: 360 degrees then carry a rounding of 3e-5.
_TOLERANCE_DEGREES = 1e-4


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells along one axis that touch each other.

    Attributes
    ----------
    kind
        ``"latitude"`` or ``"longitude"``.
    centres
        Degrees, shape (n,), in the field's own order and range.
    edges
        Degrees, shape (n + 1,), always ascending.
    from_bounds
        False if the edges are the midpoints between centres.
    """

    kind: str
    centres: Float
    edges: Float
    from_bounds: bool = False

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.centres.size

    @property
    def descending(self) -> bool:
        """Whether the field's own order runs from the last edge to the first."""
        return bool(self.centres[0] > self.centres[-1])

    @cached_property
    def measure(self) -> Float:
        """Each cell's part of an area on the unit sphere, shape (n,), in the field's own order.

        Differences of sin(latitude), without cancellation near the poles; radians of longitude.
        """
        lower, upper = np.deg2rad(self.edges[:-1]), np.deg2rad(self.edges[1:])
        width = upper - lower
        if self.kind == "latitude":
            width = 2 * np.cos((upper + lower) / 2) * np.sin(width / 2)
        return width[::-1] if self.descending else width

    @property
    def complete(self) -> bool:
        """Whether the cells reach both poles, or go all the way round."""
        whole = 180.0 if self.kind == "latitude" else 360.0
        return bool(abs(self.edges[-1] - self.edges[0] - whole) < _TOLERANCE_DEGREES)

    def same_cells(self, other: Cells) -> bool:
        """Whether centres are equal and edges agree to rounding."""
        return (
            np.array_equal(self.centres, other.centres)
            and self.edges.size == other.edges.size
            and bool(np.all(np.abs(self.edges - other.edges) < _TOLERANCE_DEGREES))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Midpoints are cheaper to make again than to send: this halves the kernels that travel in graphs.
        return _cells, (self.kind, self.centres, self.edges if self.from_bounds else None)


@dataclass(frozen=True, eq=False)
class Grid:
    """Rows and columns of cells; equal and hashed by a digest of all coordinates."""

    lat: Cells
    lon: Cells

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.lat.size, self.lon.size

    @property
    def complete(self) -> bool:
        """Whether the cells cover the whole sphere."""
        return self.lat.complete and self.lon.complete

    @cached_property
    def digest(self) -> str:
        """blake2b of centres and edges, as hex."""
        hasher = hashlib.blake2b(digest_size=16)
        for cells in (self.lat, self.lon):
            hasher.update(np.int64(cells.size).tobytes() + cells.centres.tobytes() + cells.edges.tobytes())
        return hasher.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __dask_tokenize__(self) -> str:
        return self.digest

    def __str__(self) -> str:
        rows, columns = self.shape
        lat, lon = self.lat.centres, self.lon.centres
        return f"{rows} x {columns} (lat {lat[0]:g} to {lat[-1]:g}, lon {lon[0]:g} to {lon[-1]:g})"

    def require_complete(self, purpose: str) -> None:
        """Raise ``ClimateError`` unless the cells cover the whole sphere."""
        if not self.complete:
            lat, lon = self.lat.edges, self.lon.edges
            raise ClimateError(
                f"{purpose} needs a global field, but the cells of {self} reach only from {lat[0]:g} to {lat[-1]:g} "
                f"degrees north and from {lon[0]:g} to {lon[-1]:g} degrees east",
                grid=str(self),
            )


def grid_of(field: xr.DataArray) -> Grid:
    """Grid of a field, from its latitude and longitude coordinates; values are not looked at.

    Raises
    ------
    ClimateError
        If coordinates are missing, not monotonic, NaN or impossible; the message names the index.
    """
    lat, lon = horizontal_names(field)
    return make_grid(field.coords[lat], field.coords[lon])


def make_grid(lat: ArrayLike | xr.DataArray, lon: ArrayLike | xr.DataArray) -> Grid:
    """Grid from two axes in degrees, shapes (ny,) and (nx,); DataArrays may carry bounds (``axes.with_bounds``)."""
    return Grid(cell_bounds("latitude", lat), cell_bounds("longitude", lon))


def cell_bounds(kind: str, axis: ArrayLike | xr.DataArray) -> Cells:
    """Cells of one axis: from carried bounds, else midpoints.

    Midpoint cells end at the poles: a row at a pole is half a cell, and a last row (a Gaussian grid's, say) whose
    cell would end less than half a cell from the pole reaches it. Longitudes are cyclic if the gap at the seam is
    a usual one.

    Raises
    ------
    ClimateError
        If the axis cannot be one of cells that touch each other.
    """
    centres = np.ascontiguousarray(axis, dtype=np.float64)
    bounds = carried_bounds(axis) if isinstance(axis, xr.DataArray) else None
    if bounds is None:
        return _cells(kind, centres, None)
    _check(kind, centres)
    return _cells(kind, centres, _edges_of_bounds(kind, centres, *bounds))


def cell_areas(field: xr.DataArray) -> xr.DataArray:
    """Exact areas of a field's cells on the unit sphere: shape (ny, nx), steradians, 4 pi in all."""
    lat, lon = horizontal_names(field)
    grid = grid_of(field)
    return xr.DataArray(
        np.outer(grid.lat.measure, grid.lon.measure),
        dims=(lat, lon),
        coords={lat: field.coords[lat].variable, lon: field.coords[lon].variable},
        name="cell_area",
        attrs={"standard_name": "cell_area", "units": "sr"},
    )


def _cells(kind: str, centres: Float, edges: Float | None) -> Cells:
    """Cells with given edges or with midpoints; also how Cells come out of a pickle."""
    if edges is not None:
        return Cells(kind, centres, edges, from_bounds=True)
    _check(kind, centres)
    return Cells(kind, centres, _midpoints(kind, np.sort(centres)))


def _check(kind: str, centres: Float) -> None:
    """Raise ``ClimateError``, with the index, for anything that no axis of cells can be."""
    if centres.ndim != 1 or centres.size < 2:
        raise ClimateError(f"{kind} needs one dimension of at least 2 values, not shape {centres.shape}")
    bad = np.flatnonzero(~np.isfinite(centres))
    if bad.size:
        raise ClimateError(f"{kind} at index {bad[0]} is {centres[bad[0]]}; the file is damaged", index=int(bad[0]))
    steps = np.diff(centres)
    bad = np.flatnonzero(np.sign(steps) * np.sign(steps[0]) <= 0) if steps[0] else np.array([0])
    if bad.size:
        i = int(bad[0]) + 1
        raise ClimateError(
            f"{kind} is not monotonic at index {i}: {centres[i]:g} after {centres[i - 1]:g}; sort the field by it",
            index=i,
        )
    if kind == "latitude":
        bad = np.flatnonzero(np.abs(centres) > 90.0)
        if bad.size:
            raise ClimateError(f"latitude {centres[bad[0]]:g} at index {bad[0]} is beyond a pole", index=int(bad[0]))
    elif np.ptp(centres) >= 360.0 - _TOLERANCE_DEGREES:
        i = int(np.argmax(np.abs(centres - centres[0]) >= 360.0 - _TOLERANCE_DEGREES))
        raise ClimateError(
            f"longitude {centres[i]:g} at index {i} comes 360 degrees or more after {centres[0]:g}; "
            "drop the columns that are there twice",
            index=i,
        )


def _midpoints(kind: str, ascending: Float) -> Float:
    """Edges of cells whose centres are given, both ascending."""
    inner = (ascending[1:] + ascending[:-1]) / 2
    first = ascending[0] - (ascending[1] - ascending[0]) / 2
    last = ascending[-1] + (ascending[-1] - ascending[-2]) / 2
    if kind == "latitude":
        if first + 90.0 < (ascending[1] - ascending[0]) / 2:
            first = -90.0
        if 90.0 - last < (ascending[-1] - ascending[-2]) / 2:
            last = 90.0
    else:
        gap = 360.0 - (ascending[-1] - ascending[0])
        if gap < 1.5 * np.diff(ascending).max():
            first = (ascending[0] + ascending[-1] - 360.0) / 2
            last = first + 360.0
    return np.concatenate([[first], inner, [last]])


def _edges_of_bounds(kind: str, centres: Float, ends: ArrayLike, other_ends: ArrayLike) -> Float:
    """Ascending edges from bounds, which must leave no gap and no overlap."""
    pair = np.sort(np.stack([np.asarray(ends, np.float64), np.asarray(other_ends, np.float64)]), axis=0)
    if pair.shape != (2, centres.size) or not np.isfinite(pair).all():
        raise ClimateError(f"the bounds of {kind} are not two finite values a cell (shape {pair.shape})")
    if kind == "longitude":  # bounds may lie a turn away from their centre
        pair += 360.0 * np.round((centres - pair.mean(axis=0)) / 360.0)
    outside = np.flatnonzero((centres < pair[0] - _TOLERANCE_DEGREES) | (centres > pair[1] + _TOLERANCE_DEGREES))
    if outside.size:
        i = int(outside[0])
        raise ClimateError(
            f"{kind} {centres[i]:g} at index {i} lies outside its bounds {pair[0, i]:g} to {pair[1, i]:g}", index=i
        )
    order = np.argsort(centres)
    lower, upper = pair[:, order]
    apart = np.flatnonzero(np.abs(lower[1:] - upper[:-1]) > _TOLERANCE_DEGREES)
    if apart.size:
        i = int(order[apart[0] + 1])
        raise ClimateError(f"the bounds of {kind} leave a gap or overlap at index {i} ({centres[i]:g})", index=i)
    edges = np.append(lower, upper[-1])
    if kind == "latitude":
        for end, pole in ((0, -90.0), (-1, 90.0)):
            if abs(edges[end] - pole) < _TOLERANCE_DEGREES:
                edges[end] = pole
        if edges[0] < -90.0 or edges[-1] > 90.0:
            raise ClimateError(f"the bounds of latitude reach from {edges[0]:g} to {edges[-1]:g}, beyond a pole")
    elif abs(edges[-1] - edges[0] - 360.0) < _TOLERANCE_DEGREES:
        edges[-1] = edges[0] + 360.0
    return edges
