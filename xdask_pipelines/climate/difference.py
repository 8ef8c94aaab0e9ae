"""Differences between fields of one grid and unit, and the split of a projected change into bias and signal.

Belongs here: what may be subtracted from what. Does not belong here: bringing fields to one grid (``regrid``).
``temperature_difference = model_bias + climate_signal``: a projection minus a reanalysis mixes the two.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from xdask_pipelines.climate.axes import horizontal_names
from xdask_pipelines.climate.grid import grid_of
from xdask_pipelines.errors import ClimateError

_CELSIUS = {"degc", "deg_c", "celsius", "degree_celsius", "degrees_celsius", "degree_c", "degrees_c", "°c", "c"}


def difference(projected: xr.DataArray, historic: xr.DataArray) -> xr.DataArray:
    """Projected minus historic, cell by cell, in float64.

    Coordinates of shared dimensions must be equal: nothing is aligned, and no cell is dropped.

    Raises
    ------
    ClimateError
        If grids, other shared dimensions or units differ, or units are degC.
    """
    return _subtract(projected, historic, "temperature_difference", ("projected", "historic"))


def model_bias(reference: xr.DataArray, historic: xr.DataArray) -> xr.DataArray:
    """The model's reference run minus what was observed or reanalysed for the same time; raises as ``difference``."""
    return _subtract(reference, historic, "model_bias", ("reference run", "historic"))


def climate_signal(projected: xr.DataArray, reference: xr.DataArray) -> xr.DataArray:
    """The model's projection minus the same model's reference run; raises as ``difference``."""
    return _subtract(projected, reference, "climate_signal", ("projected", "reference run"))


def _subtract(minuend: xr.DataArray, subtrahend: xr.DataArray, name: str, roles: tuple[str, str]) -> xr.DataArray:
    units = [_units(field, role) for field, role in zip((minuend, subtrahend), roles, strict=True)]
    if units[0] != units[1]:
        raise ClimateError(
            f"{name}: {roles[0]} is in {units[0]!r} but {roles[1]} in {units[1]!r}; convert one of them", units=units
        )
    grids = grid_of(minuend), grid_of(subtrahend)
    names = horizontal_names(minuend), horizontal_names(subtrahend)
    if grids[0] != grids[1] and not (grids[0].lat.same_cells(grids[1].lat) and grids[0].lon.same_cells(grids[1].lon)):
        raise ClimateError(
            f"{name}: {roles[0]} is on the grid {grids[0]}, {roles[1]} on {grids[1]}; regrid one to the other's axes",
            grids=tuple(map(str, grids)),
        )
    subtrahend = subtrahend.rename(
        {old: new for old, new in zip(names[1], names[0], strict=True) if old != new}
    ).transpose(*(dim for dim in minuend.dims if dim in subtrahend.dims), ..., missing_dims="ignore")
    for dim in set(minuend.dims) & set(subtrahend.dims) - set(names[0]):
        if not np.array_equal(minuend[dim].values, subtrahend[dim].values):
            raise ClimateError(
                f"{name}: {roles[0]} and {roles[1]} differ in {dim!r}; take means over it, or choose the same steps",
                dim=str(dim),
            )
    # The grids are the same: take one's coordinates for both, so that xarray finds nothing to align.
    shared = {dim: minuend.coords[dim].variable for dim in names[0]}
    # One float64 operand makes the result float64; a float32 one stays as it is, for half its bytes may cross Regions.
    if minuend.dtype != np.float64 and subtrahend.dtype != np.float64:
        minuend = minuend.astype(np.float64)
    result = minuend - subtrahend.assign_coords(shared)
    attrs = {
        "units": units[0],
        "long_name": f"{_label(minuend)}: {roles[0]} minus {roles[1]}",
        **{key: minuend.attrs[key] for key in ("standard_name", "regridding") if key in minuend.attrs},
    }
    for key in ("attribution", "license"):  # whoever shows the result owes them to both
        owed = dict.fromkeys(str(field.attrs[key]) for field in (minuend, subtrahend) if field.attrs.get(key))
        if owed:
            attrs[key] = " ".join(owed) if key == "attribution" else "; ".join(owed)
    if units[0] == "K":
        attrs["units_metadata"] = "temperature: difference"  # CF 1.11: not a point on the Kelvin scale
    return result.rename(name).drop_attrs(deep=False).assign_attrs(attrs)


def _units(field: xr.DataArray, role: str) -> str:
    units = field.attrs.get("units")
    if not units:
        raise ClimateError(f"the {role} field has no units; set field.attrs['units'] to what its values are")
    if str(units).lower().replace(" ", "_") in _CELSIUS:
        raise ClimateError(
            f"the {role} field is in {units!r}; temperatures are differenced in K: "
            "(field + 273.15).assign_attrs(units='K')",
            units=str(units),
        )
    return str(units)


def _label(field: xr.DataArray) -> str:
    return str(field.attrs.get("long_name") or field.name or "field")
