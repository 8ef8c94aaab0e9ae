"""Coordinates of fields: recognising latitude, longitude and time, and keeping their bounds with the field.

Belongs here: recognising coordinates by CF, and carrying their bounds. Does not belong here: the geometry of cells
(``grid``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import cftime
import numpy as np
import xarray as xr

from xdask_pipelines.errors import ClimateError

#: Dimension of the partitions in the store of one materialization.
PARTITION = "partition"

_LATITUDE_UNITS = {"degrees_north", "degree_north", "degree_N", "degrees_N", "degreeN", "degreesN"}
_LONGITUDE_UNITS = {"degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE"}
_LATITUDE_NAMES, _LONGITUDE_NAMES = {"lat", "latitude"}, {"lon", "longitude"}


def latitude_name(field: xr.DataArray) -> str:
    """Return the name of the latitude dimension, by CF's ``standard_name`` or units, or by a usual name."""
    return _the_one(field, "latitude", lambda c: _is(c, "latitude", _LATITUDE_UNITS, _LATITUDE_NAMES))


def longitude_name(field: xr.DataArray) -> str:
    """Return the name of the longitude dimension, by CF's ``standard_name`` or units, or by a usual name."""
    return _the_one(field, "longitude", lambda c: _is(c, "longitude", _LONGITUDE_UNITS, _LONGITUDE_NAMES))


def time_name(field: xr.DataArray) -> str:
    """Return the name of the time dimension, by CF's ``standard_name`` or axis, or by its dates."""
    return _the_one(field, "time", is_time)


def is_time(coordinate: xr.DataArray) -> bool:
    """Return whether a coordinate has the times of the values; the start time of a forecast does not count."""
    attrs = coordinate.attrs
    if is_reference_time(str(coordinate.name), attrs):
        return False
    if attrs.get("standard_name") == "time" or attrs.get("axis") == "T":
        return True
    return "standard_name" not in attrs and (
        np.issubdtype(coordinate.dtype, np.datetime64)
        or (
            coordinate.dtype == object
            and coordinate.size > 0
            and isinstance(coordinate.values.flat[0], cftime.datetime)
        )
        or coordinate.name == "time"
    )


def is_reference_time(name: str, attrs: Mapping[Any, Any]) -> bool:
    """Return whether a coordinate is the start time of a forecast, by its standard name or its long name.

    Files converted from GRIB give such a coordinate the standard name ``time`` and the long name "initial time of
    forecast".
    """
    words = f"{name} {attrs.get('long_name', '')}".lower().replace("_", " ")
    begins = ("initial time", "reference time", "init time", "initialisation", "initialization")
    return attrs.get("standard_name") == "forecast_reference_time" or any(text in words for text in begins)


def horizontal_names(field: xr.DataArray) -> tuple[str, str]:
    """Return the names of the latitude and the longitude dimension.

    Raises
    ------
    ClimateError
        If either is missing, exists twice, or is not a separate dimension (a curvilinear grid).
    """
    return latitude_name(field), longitude_name(field)


def native_names(field: xr.DataArray) -> tuple[str, str] | None:
    """Return the names of the 2-D latitude and longitude coordinates of a field on its native (curvilinear) grid.

    Returns
    -------
    The names; None unless the field has exactly one coordinate of each kind, over the same two of its dimensions.
    """
    flat = {name: c for name, c in field.coords.items() if c.ndim == 2 and not _is_carried_bound(str(name))}
    found = [
        [str(name) for name, c in flat.items() if _is(c, what, units, names)]
        for what, units, names in (
            ("latitude", _LATITUDE_UNITS, _LATITUDE_NAMES),
            ("longitude", _LONGITUDE_UNITS, _LONGITUDE_NAMES),
        )
    ]
    if [len(names) for names in found] != [1, 1]:
        return None
    (lat,), (lon,) = found
    return (lat, lon) if set(field[lat].dims) == set(field[lon].dims) else None


def native_horizontal_dims(field: xr.DataArray) -> tuple[str, ...]:
    """Return the one or two dimensions on which a field has both latitudes and longitudes, in the field's order.

    Raises
    ------
    ClimateError
        If there are no such coordinates: a field of rows and columns has each on a dimension of its own.
    """
    if native := native_names(field):
        found = set(field[native[0]].dims)
        return tuple(str(dim) for dim in field.dims if dim in found)
    flat = [
        {
            c.dims
            for name, c in field.coords.items()
            if c.ndim == 1 and not _is_carried_bound(str(name)) and _is(c, *kind)
        }
        for kind in (
            ("latitude", _LATITUDE_UNITS, _LATITUDE_NAMES),
            ("longitude", _LONGITUDE_UNITS, _LONGITUDE_NAMES),
        )
    ]
    if len(flat[0]) == 1 and flat[0] == flat[1]:
        return tuple(map(str, flat[0].pop()))
    raise ClimateError(
        f"{field.name or 'the field'}{origin(field)} has no latitudes and longitudes on the same dimensions among "
        f"{tuple(map(str, field.dims))}. For a field of rows and columns, use climate.regrid; else give the coordinates "
        "their CF standard_name"
    )


def origin(*holders: Any) -> str:
    """Return text such as ``" of us-east-1:era5/t2m.nc"`` with the file of a field or coordinate, for error messages.

    Parameters
    ----------
    *holders
        Fields, coordinates or plain arrays; the first one whose ``encoding`` has a ``source`` is used. If none has one,
        the text is empty.
    """
    for holder in holders:
        if source := getattr(holder, "encoding", {}).get("source"):
            return f" of {source}"
    return ""


def require_field(field: Any, function: str) -> None:
    """Raise ``ClimateError`` if the argument of a function is not a DataArray."""
    if isinstance(field, xr.DataArray):
        return
    if isinstance(field, xr.Dataset):
        names = list(map(str, field.data_vars))
        if not names:
            raise ClimateError(f"{function} takes one variable, but this Dataset{origin(field)} has none")
        raise ClimateError(
            f"{function} takes one variable: pass dataset[{names[0]!r}]; this Dataset{origin(field)} has {', '.join(names)}",
            variables=tuple(names),
        )
    raise ClimateError(
        f"{function} takes an xarray.DataArray with its coordinates, not {type(field).__name__}: "
        "xr.DataArray(values, dims=..., coords=...)"
    )


def with_bounds(dataset: xr.Dataset, variable: str) -> xr.DataArray:
    """Select one variable of a dataset, together with the bounds of its coordinates.

    In xarray a ``DataArray`` cannot have the coordinate ``time_bnds``, because ``bnds`` is not one of its dimensions.
    Each bounds variable is therefore converted to two coordinates, ``time_lower`` and ``time_upper``.

    Raises
    ------
    ClimateError
        If bounds are Dask arrays. They must be in memory to compute weights.
    """
    field = dataset[variable]
    for name, coordinate in field.coords.items():
        bounds_name = coordinate.attrs.get("bounds", coordinate.encoding.get("bounds"))
        if bounds_name is None or bounds_name not in dataset.variables:
            continue
        bounds = dataset[bounds_name]
        extra = [dim for dim in bounds.dims if dim not in coordinate.dims]
        if len(extra) != 1 or bounds.sizes[extra[0]] != 2:
            continue  # vertices of the cells of a curvilinear grid
        if bounds.chunks is not None:
            raise ClimateError(
                f"the bounds {bounds_name!r} of {variable!r}{origin(coordinate)} are a Dask array; load them with the "
                f"coordinates: dataset.assign_coords({bounds_name}=dataset.{bounds_name}.load())",
                coordinate=str(name),
            )
        ends = bounds.transpose(*coordinate.dims, extra[0]).values
        field = field.assign_coords(
            {f"{name}_lower": (coordinate.dims, ends[..., 0]), f"{name}_upper": (coordinate.dims, ends[..., 1])}
        )
    return field


def carried_bounds(coordinate: xr.DataArray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lower and upper bounds, each in the coordinate's shape, if ``with_bounds`` added them; else None."""
    lower, upper = f"{coordinate.name}_lower", f"{coordinate.name}_upper"
    if lower not in coordinate.coords or upper not in coordinate.coords:
        return None
    return coordinate.coords[lower].values, coordinate.coords[upper].values


def coordinates_without(field: xr.DataArray, *dims: str) -> dict[Any, xr.DataArray]:
    """Return the coordinates that do not depend on the given dimensions."""
    return {name: c for name, c in field.coords.items() if not set(dims) & set(c.dims)}


def horizontal_role(name: str, attrs: Mapping[Any, Any]) -> Literal["latitude", "longitude", ""]:
    """Return whether a coordinate has latitudes or longitudes, by CF's ``standard_name`` or units, or by a usual name."""
    if _says(name, attrs, "latitude", _LATITUDE_UNITS, _LATITUDE_NAMES):
        return "latitude"
    return "longitude" if _says(name, attrs, "longitude", _LONGITUDE_UNITS, _LONGITUDE_NAMES) else ""


def _is_carried_bound(name: str) -> bool:
    return name.endswith(("_lower", "_upper"))


def _is(coordinate: xr.DataArray, standard_name: str, units: set[str], names: set[str]) -> bool:
    return _says(str(coordinate.name), coordinate.attrs, standard_name, units, names)


def _says(name: str, attrs: Mapping[Any, Any], standard_name: str, units: set[str], names: set[str]) -> bool:
    if "standard_name" in attrs:
        return bool(attrs["standard_name"] == standard_name)
    return attrs.get("units") in units or ("units" not in attrs and name in names)


def _is_native(field: xr.DataArray) -> bool:
    try:
        return bool(native_horizontal_dims(field))
    except ClimateError:
        return False


def _the_one(field: xr.DataArray, what: str, test: Callable[[xr.DataArray], bool]) -> str:
    dimensions = [str(dim) for dim in field.dims if dim in field.coords and test(field.coords[dim])]
    if len(dimensions) == 1:
        return dimensions[0]
    label = (repr(str(field.name)) if field.name is not None else "the field") + origin(field)
    dims = tuple(map(str, field.dims))
    if dimensions:
        raise ClimateError(
            f"{label} has more than one {what} dimension: {dimensions}. Remove the standard_name {what!r} from all but one",
            dims=dims,
        )
    if what != "time" and _is_native(field):
        raise ClimateError(
            f"{label} has no {what} dimension among {dims}: it is on a native grid, with latitudes and longitudes on the "
            "same dimensions. For area means, pass the areas of its cells (in CMIP6 areacella or areacello): "
            "area_weighted_mean(field, areas=areas). For regridding, create weights with `cdo gencon,TARGETGRID FIELD.nc "
            "WEIGHTS.nc` for climate.regrid_by_weights, or use a version of the data on a regular grid (in CMIP6 the grid "
            "label gr)",
            dims=dims,
        )
    raise ClimateError(
        f"{label} has no {what} dimension among {dims}; give the coordinate its CF "
        f"standard_name: field[name].attrs['standard_name'] = {what!r}",
        dims=dims,
    )
