"""Areas of the cells of curvilinear and unstructured fields, which a field carries as a coordinate.

Belongs here: finding, adding and checking that coordinate by CF's ``cell_measures``. Does not belong here: exact areas of
rows and columns (``grids``), where areas are stored (``access.native_grids``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import xarray as xr

from xdask_pipelines.climate.axes import horizontal_names, origin
from xdask_pipelines.errors import ClimateError

#: Names in CMIP of the areas of cells, of ocean and of atmosphere models.
AREA_NAMES = ("areacello", "areacella")
#: Key of the encoding of a field and its coordinates with the reason why the field has no areas. In contrast to an
#: attribute, it is not stored with results, and coordinates keep it in arithmetic.
_NO_AREAS = "no_areas"
_AREA = re.compile(r"\barea:\s*([A-Za-z]\w*)")


def measured_area(attrs: Mapping[Any, Any]) -> str:
    """Return the name of the variable with the areas of cells, by the attribute ``cell_measures``; empty without one.

    Examples
    --------
    >>> measured_area({"cell_measures": "area: areacello volume: volcello"}), measured_area({"cell_measures": "--OPT"})
    ('areacello', '')
    """
    found = _AREA.search(str(attrs.get("cell_measures", "")))
    return found[1] if found else ""


def carrying_areas(field: xr.DataArray, areas: xr.DataArray) -> xr.DataArray:
    """Add the areas of its cells to a field as a coordinate, which ``area_weighted_mean`` uses.

    Parameters
    ----------
    field
        A curvilinear or unstructured field.
    areas
        Areas over the field's horizontal dimensions, with their name; lazy or in memory.
    """
    name = str(areas.name)
    attrs = {**areas.attrs, "standard_name": "cell_area"}
    variable = xr.Variable(areas.dims, areas.data, attrs, dict(areas.encoding))
    measures = str(field.attrs.get("cell_measures", ""))
    stated = measures if measured_area(field.attrs) == name else f"area: {name}"
    return field.assign_coords({name: variable}).assign_attrs(cell_measures=stated)


def without_areas(field: xr.DataArray, reason: str) -> xr.DataArray:
    """Return a field that says why it has no areas, for the error of ``area_weighted_mean``."""
    field = field.copy(deep=False)
    for holder in (field.variable, *(c.variable for c in field.coords.values() if c.ndim and c.dims != (c.name,))):
        holder.encoding[_NO_AREAS] = reason
    return field


def carried_areas(field: xr.DataArray) -> xr.DataArray | None:
    """Return the areas of cells that a curvilinear or unstructured field carries; None for a field of rows and columns.

    The coordinate is that in ``cell_measures``, or, as arithmetic may drop attributes, the only one with the standard name
    ``cell_area``.

    Raises
    ------
    ClimateError
        If the field has neither latitude and longitude dimensions nor areas.
    """
    try:
        horizontal_names(field)
    except ClimateError as error:
        name = measured_area(field.attrs)
        if name in field.coords and field[name].ndim:
            found: xr.DataArray = field.coords[name]
            return found
        measured = [c for c in field.coords.values() if c.attrs.get("standard_name") == "cell_area" and c.ndim]
        if len(measured) == 1:
            found = measured[0]
            return found
        reasons = [each.encoding.get(_NO_AREAS) for each in (field, *field.coords.values())]
        if reason := next(filter(None, reasons), ""):
            label = (repr(str(field.name)) if field.name is not None else "the field") + origin(field)
            raise ClimateError(
                f"{label} has no latitude and longitude dimensions, and the areas of its cells are not known: {reason}. "
                "Sync the areas of this grid (in CMIP6 areacella or areacello), or pass them: "
                "area_weighted_mean(field, areas=areas). To regrid instead, create weights with `cdo "
                "gencon,TARGETGRID FIELD.nc WEIGHTS.nc` for climate.regrid_by_weights"
            ) from error
        raise
    return None


def attributes_without_measures(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return attributes without ``cell_measures``, for a result that no longer has the cells."""
    return {name: value for name, value in attrs.items() if name != "cell_measures"}
