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

from xdask_pipelines.climate.axes import carried_bounds, horizontal_names, require_field
from xdask_pipelines.climate.axes import origin as axes_origin
from xdask_pipelines.climate.grids.axis_gaps import TOLERANCE_DEGREES, Axis, gap, gap_error
from xdask_pipelines.climate.grids.cell_edges import check_centres, edges_of_bounds, midpoints
from xdask_pipelines.climate.grids.tolerance import same_coordinate
from xdask_pipelines.errors import ClimateError

Float = NDArray[np.float64]


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
        """Return whether the field's own order runs from the last edge to the first."""
        return bool(self.centres[0] > self.centres[-1])

    @cached_property
    def measure(self) -> Float:
        """Return each cell's factor of the area on the unit sphere, shape (n,), in the field's own order.

        Differences of sin(latitude), without cancellation near the poles; radians of longitude.
        """
        lower, upper = np.deg2rad(self.edges[:-1]), np.deg2rad(self.edges[1:])
        width = upper - lower
        if self.kind == "latitude":
            width = 2 * np.cos((upper + lower) / 2) * np.sin(width / 2)
        return width[::-1] if self.descending else width

    @property
    def complete(self) -> bool:
        """Return whether the cells reach both poles, or cover 360 degrees."""
        whole = 180.0 if self.kind == "latitude" else 360.0
        return bool(abs(self.edges[-1] - self.edges[0] - whole) < TOLERANCE_DEGREES)

    def same_cells(self, other: Cells) -> bool:
        """Return whether centres and edges agree except for rounding (`tolerance.same_coordinate`)."""
        return same_coordinate(self.centres, other.centres) and same_coordinate(self.edges, other.edges)

    def __reduce__(self) -> tuple[Any, ...]:
        # Midpoints are cheaper to recompute than to send: this halves the size of kernels in graphs.
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
        """Return whether the cells cover the whole sphere."""
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

    def same_cells(self, other: Grid) -> bool:
        """Return whether rows and columns agree except for rounding."""
        return self.lat.same_cells(other.lat) and self.lon.same_cells(other.lon)


def grid_of(field: xr.DataArray) -> Grid:
    """Return the grid of a field, from its latitude and longitude coordinates.

    Raises
    ------
    ClimateError
        If coordinates are missing, not monotonic, NaN or invalid, or if a row or column is missing.
    """
    require_field(field, "grid_of")
    lat, lon = horizontal_names(field)
    source = axes_origin(field)
    return Grid(cell_bounds("latitude", field.coords[lat], source), cell_bounds("longitude", field.coords[lon], source))


def make_grid(lat: ArrayLike | xr.DataArray, lon: ArrayLike | xr.DataArray) -> Grid:
    """Create a grid from two axes in degrees, shapes (ny,) and (nx,); DataArrays may carry bounds (``axes.with_bounds``)."""
    return Grid(cell_bounds("latitude", lat), cell_bounds("longitude", lon))


def cell_bounds(kind: str, axis: ArrayLike | xr.DataArray, origin: str = "") -> Cells:
    """Return the cells of one axis, from its carried bounds or from midpoints.

    Midpoint cells end at the poles: a row at a pole is half a cell, and a last row (of a Gaussian grid, for example)
    whose cell would end less than half a cell from the pole is extended to it. Longitudes are cyclic if the step across
    the seam is at most 1.5 times the larger of its neighbouring steps.

    Parameters
    ----------
    kind
        ``"latitude"`` or ``"longitude"``.
    axis
        Centres in degrees, shape (n,), rising or falling.
    origin
        Text of `axes.origin` for messages.

    Raises
    ------
    ClimateError
        If the axis cannot have cells that touch each other.
    """
    units = str(axis.attrs.get("units", "")) if isinstance(axis, xr.DataArray) else ""
    if units.startswith("rad"):
        name, degrees = getattr(axis, "name", kind), "degrees_north" if kind == "latitude" else "degrees_east"
        raise ClimateError(
            f"{kind}{axes_origin(axis) or origin} is in {units!r}: convert it to degrees first: "
            f"`field = field.assign_coords({name}=np.rad2deg(field.{name}).assign_attrs(units={degrees!r}))`"
        )
    centres = np.ascontiguousarray(axis, dtype=np.float64)
    bounds = carried_bounds(axis) if isinstance(axis, xr.DataArray) else None
    named = Axis(kind, str(getattr(axis, "name", None) or kind), axes_origin(axis) or origin)
    check_centres(named, centres)
    place = gap(kind, np.sort(centres))
    if bounds is not None:
        return Cells(kind, centres, edges_of_bounds(named, centres, *bounds, place), from_bounds=True)
    if place is not None:
        raise gap_error(named, centres, place)
    return _cells(kind, centres, None)


def cell_areas(field: xr.DataArray) -> xr.DataArray:
    """Return the exact areas of a field's cells on the unit sphere: shape (ny, nx), in steradians, 4 pi in total.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> field = xr.DataArray(np.zeros((4, 8)), coords={"lat": [67.5, 22.5, -22.5, -67.5], "lon": np.arange(0, 360, 45)})
    >>> float(cell_areas(field).sum() / (4 * np.pi))
    1.0
    """
    require_field(field, "cell_areas")
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
    """Create cells with given edges or midpoints, without checks; also used to unpickle cells."""
    if edges is not None:
        return Cells(kind, centres, edges, from_bounds=True)
    return Cells(kind, centres, midpoints(kind, np.sort(centres)))
