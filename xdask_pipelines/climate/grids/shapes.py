"""The shape of a result in a picture: a map, a plane, one line or several, a Taylor diagram, a number, or none.

Belongs here: finding the shape from dimensions and coordinates. Does not belong here: drawing (``maps``, ``plots``).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from xdask_pipelines.climate.axes import horizontal_names, native_names
from xdask_pipelines.climate.grids.grid import grid_of
from xdask_pipelines.climate.partial_means import mean_of_partials
from xdask_pipelines.climate.partials import is_partial
from xdask_pipelines.errors import ClimateError

Shape = Literal["map", "native map", "plane", "line", "lines", "maps", "taylor", "number"]
#: More named lines than these are a plane.
MOST_LINES = 12
#: More maps side by side would be too small.
MOST_PANELS = 6
#: Coordinate of the points of a Taylor diagram (`climate.analyses.taylor_points`).
CORRELATION = "pattern_correlation"


def shape_of(field: xr.DataArray) -> Shape | None:
    """Return the shape of a field, from its dimensions and coordinates.

    Returns
    -------
    ``"map"``: latitude and longitude with cells that touch. ``"native map"``: two dimensions, with 2-D coordinates or axes
    with gaps. ``"lines"``: one dimension of a few names, such as regions or scenarios, and another one. ``"plane"``: any
    other two dimensions (cross sections, Hovmöller diagrams). ``"line"``: one dimension. ``"taylor"``: one dimension with
    the points of a Taylor diagram. ``"maps"``: latitude, longitude, and one dimension of two to six names. ``"number"``:
    none. None for three dimensions and more otherwise.
    """
    if field.ndim == 1 and CORRELATION in field.coords and field[CORRELATION].dims == field.dims:
        return "taylor"
    if field.ndim == 3 and panels_of(field):
        return "maps"
    if field.ndim == 2:
        if lines_of(field):
            return "lines"
        if native := native_names(field):
            return "native map" if set(field[native[0]].dims) == set(field.dims) else "plane"
        try:
            if set(horizontal_names(field)) != set(field.dims):
                return "plane"
        except ClimateError:
            return "plane"
        return "map" if is_gridded(field) else "native map"
    return {0: "number", 1: "line"}.get(field.ndim)  # type: ignore[return-value]


def lines_of(field: xr.DataArray) -> str | None:
    """Return the dimension whose names each stand for a line: the only one with text, of a field with two dimensions."""
    return _names_of(field, MOST_LINES)


def panels_of(field: xr.DataArray) -> str | None:
    """Return the dimension whose names each stand for a map: the only one with text, of a field with three dimensions."""
    names = _names_of(field, MOST_PANELS) if field.ndim == 3 else None
    single = names is None or field.sizes[names] < 2
    return None if single or shape_of(field.isel({names: 0}, drop=True)) != "map" else names


def _names_of(field: xr.DataArray, most: int) -> str | None:
    named = [
        str(dim)
        for dim in field.dims
        if dim in field.coords and field.sizes[dim] and isinstance(field[dim].values[0], str)
    ]
    return named[0] if len(named) == 1 and field.sizes[named[0]] <= most else None


def is_gridded(field: xr.DataArray) -> bool:
    """Return whether a field has latitude and longitude dimensions with cells that touch."""
    try:
        grid_of(field)
    except ClimateError:
        return False
    return True


def places_of(field: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return latitude and longitude of each value of a native map, in degrees, both in the field's shape."""
    if native := native_names(field):
        lat, lon = field[native[0]], field[native[1]]
        return lat.transpose(*field.dims), lon.transpose(*field.dims)
    lat, lon = (field[name] for name in horizontal_names(field))
    rows, columns = xr.broadcast(lat, lon)
    return rows.transpose(*field.dims), columns.transpose(*field.dims)


def picture_of(result: Any) -> tuple[xr.DataArray | None, str]:
    """Return the field of a result that a picture shows, or None with the reason and the advice.

    Dimensions of size 1 are dropped. A partial is shown as its mean.

    Parameters
    ----------
    result
        The result of an analysis, or of its ``preview``.
    """
    if is_partial(result):
        result = mean_of_partials(result)
    if isinstance(result, xr.Dataset):
        names = list(map(str, result.data_vars))
        if len(names) != 1:
            return None, (
                f"no picture: the result has {len(names)} variables ({', '.join(names)}). Choose one in the analysis: "
                f"preview=lambda result: result[{names[0]!r}]"
                if names
                else "no picture: the result has no variables"
            )
        result = result[names[0]]
    if not isinstance(result, xr.DataArray):
        return None, f"no picture: preview returned {type(result).__name__}, not an xarray.DataArray"
    if not np.issubdtype(result.dtype, np.number) and result.dtype != np.bool_:
        return None, f"no picture: values of dtype {result.dtype} cannot be drawn"
    if not result.size:
        return None, "no picture: the result is empty"
    field = result if shape_of(result) == "taylor" else result.squeeze()
    if field.ndim > 2 and shape_of(field) != "maps":
        dims = ", ".join(map(str, field.dims))
        return None, (
            f"no picture: the result has the dimensions {dims}. Choose two in the analysis, for example "
            f"preview=lambda result: result.isel({', '.join(f'{d}=0' for d in map(str, field.dims[:-2]))})"
        )
    return field, ""
