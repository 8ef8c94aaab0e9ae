"""Thumbnails: coarse copies of fields in about 10 kB, computed in the field's Region and drawn elsewhere.

Belongs here: converting fields to values of one byte each, and back. Does not belong here: drawing (``maps``,
``plots``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xdask_pipelines.climate.axes import horizontal_names, require_field
from xdask_pipelines.climate.grids.grid import Cells, Float, Grid, grid_of, make_grid
from xdask_pipelines.climate.grids.shapes import panels_of, shape_of
from xdask_pipelines.climate.kernels import map_fields
from xdask_pipelines.climate.means import AreaMeanKernel
from xdask_pipelines.climate.regridding.regrid import RegridKernel
from xdask_pipelines.errors import ClimateError

_NO_VALUE = 255
_LEVELS = 254
_MOST_ROWS, _MOST_COLUMNS = 72, 144
_MOST_CELLS = _MOST_ROWS * _MOST_COLUMNS
#: Maximum number of points of a line, eight bytes each: one byte has 254 levels, which would be visible as steps.
_MOST_POINTS = 1200
_FIGURES = 5
#: Attribute, or of several maps the coordinate, with the area-weighted mean of the field itself.
AREA_MEAN = "area_mean"
#: Attributes of a thumbnail for the field's name, size and shape.
_NAME, _SIZE, _SHAPE = "thumbnail_of", "thumbnail_of_size", "thumbnail_shape"


def quantise(field: xr.DataArray) -> xr.Dataset:
    """Create a coarse copy of a field in about 10 kB; lazy if the field is lazy (two tasks).

    Parameters
    ----------
    field
        A field of at most two dimensions, or maps by name. A global map of more than 72 x 144 cells is regridded to 2.5
        degrees; neighbouring cells of a large region are merged. Native grids and other planes are averaged over at most
        10,368 blocks, and lines over at most 1,200 sections. A block has a value if at least half of its values are finite,
        and the position of its middle value.

    Returns
    -------
    Dataset of ``codes`` (uint8, 255 for missing values; float64 for lines and numbers) and ``summary`` (five float64:
    first level and step of the codes; minimum and maximum of the field itself; area-weighted mean of a map, or number
    of missing values of other shapes).

    Raises
    ------
    ClimateError
        If the field has more dimensions.
    """
    require_field(field, "quantise")
    shape = shape_of(field)
    if shape is None:
        raise ClimateError(
            f"a picture shows at most two dimensions, not {tuple(map(str, field.dims))}; select along the others first"
        )
    if shape == "maps":
        names = str(panels_of(field))
        panels = [quantise(field.isel({names: i}, drop=True)) for i in range(field.sizes[names])]
        return xr.concat(panels, xr.Variable(names, field[names].values), combine_attrs="override")
    return _map(field) if shape == "map" else _blocks(field, exact=shape in ("line", "lines", "taylor", "number"))


def dequantise(thumbnail: xr.Dataset) -> xr.DataArray:
    """Restore the coarse values of a thumbnail, to half a step of its codes.

    Returns
    -------
    At most 10,368 values in float64. The attributes are those of the field, with its ``actual_range``, and
    ``area_mean`` (of a map) or ``missing_values``: figures of the original field for the picture.
    """
    if thumbnail.summary.ndim == 2:
        return _panels(thumbnail)
    low, step, minimum, maximum, last = (float(value) for value in thumbnail.summary.values)
    values = thumbnail.codes.astype(np.float64) * step + low
    if thumbnail.codes.dtype == np.uint8:
        values = values.where(thumbnail.codes != _NO_VALUE)
    attrs = {**thumbnail.attrs, "actual_range": (minimum, maximum)}
    coarse = attrs.pop(_SIZE) != values.size
    if attrs.pop(_SHAPE) == "map":
        attrs |= {AREA_MEAN: last} | ({"is_coarse": True} if coarse else {})
    else:
        attrs["missing_values"] = int(last)
    return xr.DataArray(values.rename(attrs.pop(_NAME, None)), attrs=attrs)


def _panels(thumbnail: xr.Dataset) -> xr.DataArray:
    """Restore maps side by side; their means are the coordinate ``area_mean``."""
    (names,) = (str(dim) for dim in thumbnail.summary.dims if dim != "figure")
    panels = [dequantise(thumbnail.isel({names: i}, drop=True)) for i in range(thumbnail.sizes[names])]
    joined = xr.concat(panels, thumbnail[names].variable, combine_attrs="drop_conflicts")
    ends = np.array([panel.attrs["actual_range"] for panel in panels])
    means = [panel.attrs[AREA_MEAN] for panel in panels]
    attrs = {key: value for key, value in joined.attrs.items() if key != AREA_MEAN}
    both = (float(np.nanmin(ends)), float(np.nanmax(ends))) if np.isfinite(ends).any() else (np.nan, np.nan)
    return (
        joined.assign_coords({AREA_MEAN: (names, means)})
        .drop_attrs(deep=False)
        .assign_attrs({**attrs, "actual_range": both})
    )


def _map(field: xr.DataArray) -> xr.Dataset:
    horizontal = horizontal_names(field)
    grid = grid_of(field)
    coarse = _coarse(grid)
    kernel = _ByGrid(grid, coarse)
    codes = map_fields(_Codes(kernel), field, horizontal, label="thumbnail", dtype=np.uint8, shape=coarse.shape)
    summary = map_fields(
        _Summary(kernel), field, horizontal, label="thumbnail-summary", dtype=np.float64, new={"figure": _FIGURES}
    )
    coords: dict[str, xr.Variable] = {}
    for name, cells in zip(horizontal, (coarse.lat, coarse.lon), strict=True):
        coords[name] = xr.Variable(name, cells.centres, field.coords[name].attrs)
        if cells.from_bounds:
            order = slice(None, None, -1 if cells.descending else 1)
            coords[f"{name}_lower"] = xr.Variable(name, cells.edges[:-1][order])
            coords[f"{name}_upper"] = xr.Variable(name, cells.edges[1:][order])
    return _thumbnail(field, "map", codes, summary, coords)


def _blocks(field: xr.DataArray, exact: bool) -> xr.Dataset:
    edges = tuple(_edges(n, most) for n, most in zip(field.shape, _most(field.shape), strict=True))
    kernel = _ByBlocks(edges)
    middles = {dim: (e[1:] + e[:-1] - 1) // 2 for dim, e in zip(field.dims, edges, strict=True)}
    shape = tuple(len(each) for each in middles.values())
    codes = _whole(
        _Values(kernel) if exact else _Codes(kernel), field, shape, np.float64 if exact else np.uint8, "thumbnail"
    )
    summary = _whole(_Summary(kernel, scaled=not exact), field, (_FIGURES,), np.float64, "thumbnail-summary")
    coords = {name: c.isel({d: at for d, at in middles.items() if d in c.dims}) for name, c in field.coords.items()}
    # Coordinates of a large native grid are sent with the picture: a precision of 1e-5 degrees is enough.
    coords = {name: c if c.chunks is None else c.astype(np.float32, keep_attrs=True) for name, c in coords.items()}
    return _thumbnail(field, "blocks", xr.Variable(field.dims, codes), xr.Variable("figure", summary), coords)


def _thumbnail(field: xr.DataArray, shape: str, codes: xr.Variable, summary: xr.Variable, coords: Any) -> xr.Dataset:
    name = {} if field.name is None else {_NAME: str(field.name)}
    own = {**name, _SHAPE: shape, _SIZE: field.size}
    return xr.Dataset({"codes": codes, "summary": summary}, coords=coords, attrs={**field.attrs, **own})


def _whole(
    kernel: Callable[[NDArray[Any]], NDArray[Any]],
    field: xr.DataArray,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    label: str,
) -> Any:
    """Apply a kernel to a whole field: one task."""
    if field.chunks is None:
        return kernel(field.values)
    return da.blockwise(
        kernel,
        tuple(range(field.ndim, field.ndim + len(shape))),
        field.chunk(-1).data,
        tuple(range(field.ndim)),
        new_axes=dict(zip(range(field.ndim, field.ndim + len(shape)), shape, strict=True)),
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype=dtype),
        concatenate=True,
        token=label,
    )


def _most(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of blocks along each dimension; a short dimension leaves more blocks to the other."""
    if len(shape) < 2:
        return (_MOST_POINTS,) * len(shape)
    rows, columns = shape
    columns = min(columns, max(_MOST_COLUMNS, _MOST_CELLS // min(rows, _MOST_ROWS)))
    return min(rows, _MOST_CELLS // columns), columns


def _edges(size: int, most: int) -> NDArray[np.intp]:
    return np.linspace(0, size, min(size, most) + 1).astype(np.intp)


def _coarse(grid: Grid) -> Grid:
    rows, columns = grid.shape
    if grid.complete:
        if rows <= _MOST_ROWS and columns <= _MOST_COLUMNS:
            return grid
        step = 180.0 / _MOST_ROWS
        return make_grid(-90.0 + step * (np.arange(_MOST_ROWS) + 0.5), step * (np.arange(_MOST_COLUMNS) + 0.5))
    if rows * columns <= _MOST_CELLS:
        return grid
    most = _most(grid.shape)
    return Grid(_merged(grid.lat, most[0]), _merged(grid.lon, most[1]))


def _merged(cells: Cells, most: int) -> Cells:
    """Merge neighbouring cells until at most ``most`` are left."""
    edges = cells.edges[_edges(cells.size, most)]
    centres = (edges[1:] + edges[:-1]) / 2
    return Cells(cells.kind, centres[::-1] if cells.descending else centres, edges, from_bounds=True)


@dataclass(frozen=True)
class _ByGrid:
    """Coarse values of a map, and its mean."""

    grid: Grid
    coarse: Grid

    def values(self, values: NDArray[Any]) -> Float:
        if self.coarse == self.grid:
            return values.astype(np.float64)
        return RegridKernel(self.grid, self.coarse, "conservative")(values)

    def figure(self, values: NDArray[Any]) -> float:
        """Return the area-weighted mean, NaN if any value is NaN."""
        return float(AreaMeanKernel(self.grid)(values))


@dataclass(frozen=True)
class _ByBlocks:
    """Means of the finite values of blocks, if at least half of their values are finite."""

    edges: tuple[NDArray[np.intp], ...]

    def values(self, values: NDArray[Any]) -> Float:
        values = np.asarray(values, np.float64)
        finite = np.isfinite(values)
        total, count, size = np.where(finite, values, 0.0), finite.astype(np.float64), np.ones(values.shape)
        for axis, edges in enumerate(self.edges):
            total, count, size = (np.add.reduceat(each, edges[:-1], axis=axis) for each in (total, count, size))
        known = (count > 0) & (2 * count >= size)
        few: Float = np.divide(total, count, out=np.full(total.shape, np.nan), where=known)
        return few

    def figure(self, values: NDArray[Any]) -> float:
        """Return the number of missing values."""
        return float(np.count_nonzero(~np.isfinite(values)))


def _scale(few: Float) -> tuple[float, float]:
    """Return the smallest coarse value, and the step between codes."""
    finite = few[np.isfinite(few)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return low, (high - low) / _LEVELS or 1.0


@dataclass(frozen=True)
class _Values:
    coarse: _ByBlocks

    def __call__(self, values: NDArray[Any]) -> Float:
        return self.coarse.values(values)


@dataclass(frozen=True)
class _Codes:
    coarse: _ByGrid | _ByBlocks

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        few = self.coarse.values(values)
        low, step = _scale(few)
        finite = np.isfinite(few)
        codes = np.rint((np.where(finite, few, low) - low) / step).astype(np.uint8)
        return np.where(finite, codes, np.uint8(_NO_VALUE))


@dataclass(frozen=True)
class _Summary:
    coarse: _ByGrid | _ByBlocks
    scaled: bool = True

    def __call__(self, values: NDArray[Any]) -> Float:
        low, step = _scale(self.coarse.values(values)) if self.scaled else (0.0, 1.0)
        values = np.asarray(values, np.float64)
        finite = values[np.isfinite(values)]
        ends = (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
        return np.array([low, step, *ends, self.coarse.figure(values)])
