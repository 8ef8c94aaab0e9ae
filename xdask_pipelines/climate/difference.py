"""Differences between fields on one grid, and the split of a projected change into bias and signal.

Belongs here: subtracting fields, and the checks before it. Does not belong here: regridding (``regrid``).
``temperature_difference = model_bias + climate_signal``: a projection minus a reanalysis contains both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from xdask_pipelines.climate.axes import (
    is_time,
    latitude_name,
    longitude_name,
    native_names,
    origin,
    require_field,
)
from xdask_pipelines.climate.grids.grid import cell_bounds
from xdask_pipelines.climate.grids.tolerance import same_coordinate
from xdask_pipelines.errors import ClimateError

_CELSIUS = {"degc", "deg_c", "celsius", "degree_celsius", "degrees_celsius", "degree_c", "degrees_c", "°c", "c"}
_AXES = (("latitude", latitude_name), ("longitude", longitude_name))


def difference(projected: xr.DataArray, historic: xr.DataArray) -> xr.DataArray:
    """Subtract a historic field from a projected one, cell by cell, in float64.

    Coordinates of shared dimensions must agree except for rounding: nothing is aligned, and no cell is dropped.
    Dimensions of only one field (members, levels, time) are kept. Native grids (dimensions j and i) agree if their 2-D
    coordinates agree.

    Raises
    ------
    ClimateError
        If grids, calendars, other shared dimensions or units differ, or units are degC.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"lat": [10.0, -10.0], "lon": [0.0, 20.0]}
    >>> one, other = (xr.DataArray([[k, k], [k, k]], coords=coords, attrs={"units": "K"}) for k in (288.5, 287.0))
    >>> difference(one, other).values.tolist()
    [[1.5, 1.5], [1.5, 1.5]]
    """
    return subtract(projected, historic, "temperature_difference", ("projected", "historic"))


def model_bias(reference: xr.DataArray, historic: xr.DataArray) -> xr.DataArray:
    """Subtract observations or a reanalysis from the model's reference run of the same period; raises as ``difference``."""
    return subtract(reference, historic, "model_bias", ("reference run", "historic"))


def climate_signal(projected: xr.DataArray, reference: xr.DataArray) -> xr.DataArray:
    """Subtract a model's reference run from its projection; raises as ``difference``."""
    return subtract(projected, reference, "climate_signal", ("projected", "reference run"))


def subtract(minuend: xr.DataArray, subtrahend: xr.DataArray, name: str, roles: tuple[str, str]) -> xr.DataArray:
    """Subtract fields as `difference` does; ``name`` is that of the result, and errors name the fields by their roles."""
    for field in (minuend, subtrahend):
        require_field(field, name)
    units = [_units(field, role) for field, role in zip((minuend, subtrahend), roles, strict=True)]
    if units[0] != units[1]:
        raise ClimateError(
            f"{name}: {roles[0]} is in {units[0]!r} but {roles[1]} in {units[1]!r}; convert one of them", units=units
        )
    subtrahend = _renamed(minuend, subtrahend)
    mine, others = set(minuend.dims), set(subtrahend.dims)
    if not (mine <= others or others <= mine):
        raise ClimateError(
            f"{name}: {roles[0]}{origin(minuend)} has dimensions {tuple(map(str, minuend.dims))}, "
            f"{roles[1]}{origin(subtrahend)} {tuple(map(str, subtrahend.dims))}; bring both to one grid, and average or "
            "select along dimensions that only one has"
        )
    subtrahend = subtrahend.transpose(*(dim for dim in minuend.dims if dim in others), ...)
    horizontal = {dim: kind for kind, find in _AXES if (dim := _found(find, minuend)) and dim in others}
    if not all(_same_cells(kind, minuend[dim], subtrahend[dim]) for dim, kind in horizontal.items()):
        grids = _grid_words(minuend, horizontal), _grid_words(subtrahend, horizontal)
        origins = [origin(field, *(field[dim] for dim in horizontal)) for field in (minuend, subtrahend)]
        raise ClimateError(
            f"{name}: {roles[0]}{origins[0]} is on the grid {grids[0]}, {roles[1]}{origins[1]} on {grids[1]}; regrid one to "
            "the other's axes",
            grids=grids,
        )
    shared = [str(dim) for dim in minuend.dims if dim in others and dim not in horizontal]
    native = native_names(minuend)
    if native and native == native_names(subtrahend):
        shared += native
    for dim in shared:
        require_same_coordinates(minuend[dim], subtrahend[dim], name, roles)
    # They agree except for rounding: both get the same coordinates, so that xarray aligns nothing.
    taken = {dim: minuend.coords[dim].variable for dim in (*horizontal, *shared) if dim in minuend.coords}
    # One float64 operand is enough for a float64 result. A float32 operand stays float32, because fewer bytes may have
    # to cross Regions.
    if minuend.dtype != np.float64 and subtrahend.dtype != np.float64:
        minuend = minuend.astype(np.float64)
    result = minuend - subtrahend.assign_coords(taken)
    attrs = {
        "units": units[0],
        "long_name": f"{_label(minuend)}: {roles[0]} minus {roles[1]}",
        **{key: minuend.attrs[key] for key in ("standard_name", "regridding") if key in minuend.attrs},
    }
    for key in ("attribution", "license"):  # the result needs those of both fields
        owed = dict.fromkeys(str(field.attrs[key]) for field in (minuend, subtrahend) if field.attrs.get(key))
        if owed:
            attrs[key] = " ".join(owed) if key == "attribution" else "; ".join(owed)
    if units[0] == "K":
        attrs["units_metadata"] = "temperature: difference"  # CF 1.11: not a point on the Kelvin scale
    return result.rename(name).drop_attrs(deep=False).assign_attrs(attrs)


def _found(find: Callable[[xr.DataArray], str], field: xr.DataArray) -> str | None:
    """Return the latitude or longitude dimension; None if the field has none, as profiles and native grids."""
    try:
        return find(field)
    except ClimateError:
        return None


def _renamed(minuend: xr.DataArray, subtrahend: xr.DataArray) -> xr.DataArray:
    """Return the subtrahend with the minuend's names of latitude and longitude."""
    pairs = [(_found(find, subtrahend), _found(find, minuend)) for _, find in _AXES]
    return subtrahend.rename({old: new for old, new in pairs if old and new and old != new})


def _same_cells(kind: str, one: xr.DataArray, other: xr.DataArray) -> bool:
    """Return whether centres agree, and also edges if cells touch; regions with gaps have no edges but can be subtracted."""
    if not same_coordinate(one.values, other.values):
        return False
    try:
        return cell_bounds(kind, one).same_cells(cell_bounds(kind, other))
    except ClimateError:
        return True


def _grid_words(field: xr.DataArray, horizontal: Mapping[str, str]) -> str:
    sizes = " x ".join(str(field.sizes[dim]) for dim in horizontal)
    ends = (f"{kind[:3]} {field[dim].values[0]:g} to {field[dim].values[-1]:g}" for dim, kind in horizontal.items())
    return f"{sizes} ({', '.join(ends)})"


def require_same_coordinates(one: xr.DataArray, other: xr.DataArray, name: str, roles: tuple[str, str]) -> None:
    """Raise ``ClimateError`` unless two coordinates of one name agree; ``roles`` name their fields."""
    if same_coordinate(one.values, other.values):
        return
    calendars = [_calendar(coordinate) for coordinate in (one, other)]
    if all(calendars) and calendars[0] != calendars[1]:
        raise ClimateError(
            f"{name}: {roles[0]}{origin(one)} has the calendar {calendars[0]!r} but {roles[1]}{origin(other)} "
            f"{calendars[1]!r}, so their steps of {str(one.name)!r} cannot be matched. Compute means over time of both "
            "first (time_weighted_mean), or convert one to the other's calendar with field.convert_calendar",
            calendars=tuple(map(str, calendars)),
        )
    raise ClimateError(
        f"{name}: {roles[0]}{origin(one)} and {roles[1]}{origin(other)} differ in {str(one.name)!r}; average over it, or "
        "select the same steps",
        dim=str(one.name),
    )


def _calendar(coordinate: xr.DataArray) -> str | None:
    if not coordinate.size or not is_time(coordinate) or coordinate.dtype.kind not in "OM":
        return None
    return str(coordinate.dt.calendar)


def _units(field: xr.DataArray, role: str) -> str:
    units = field.attrs.get("units")
    if not units:
        raise ClimateError(f"the {role} field has no units; set field.attrs['units']")
    if str(units).lower().replace(" ", "_") in _CELSIUS:
        raise ClimateError(
            f"the {role} field is in {units!r}; temperatures are subtracted in K: "
            "(field + 273.15).assign_attrs(units='K')",
            units=str(units),
        )
    return str(units)


def _label(field: xr.DataArray) -> str:
    return str(field.attrs.get("long_name") or field.name or "field")
