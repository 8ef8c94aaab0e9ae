"""Joining the areas of cells to fields that are opened from the catalog.

Belongs here: areas as a coordinate, from a header or lazily from their file. Does not belong here: finding their entries
(``area_entries``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.decoding import decode_values
from xdask_pipelines.access.describing.raw import attributes
from xdask_pipelines.access.join import where
from xdask_pipelines.access.native_grids.area_entries import FoundAreas
from xdask_pipelines.access.open import open_entries
from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.series import Replicas
from xdask_pipelines.climate.cell_measures import carrying_areas, without_areas


def with_areas(
    field: xr.DataArray | xr.Dataset, found: FoundAreas | None, chosen: Callable[[Replicas], Entry]
) -> xr.DataArray | xr.Dataset:
    """Add the areas of its cells to a field, or the reason why there are none.

    Areas of up to 1 MB are in the header of their entry, as latitudes and longitudes are, and so in memory. Larger ones are
    lazy, and read in the Region of their entry.

    Parameters
    ----------
    field
        As opened; a Dataset of several variables is returned as it is.
    found
        From `areas_of_run`; None returns the field as it is.
    chosen
        From replicas to the one that is read.
    """
    if found is None or not isinstance(field, xr.DataArray):
        return field
    if not found.replicas:
        return without_areas(field, found.missing)
    return carrying_areas(field, _areas(chosen(found.replicas), found.variable, field))


def _areas(entry: Entry, name: str, field: xr.DataArray) -> xr.DataArray:
    variable = (entry.header or {})["variables"][name]
    if packed := variable.get("values"):
        dims = tuple(variable["dims"])
        values = np.array(decode_values(unpack(packed), name, dims, attributes(variable["attrs"])))
        attrs = {k: v for k, v in attributes(variable["attrs"]).items() if k in ("units", "long_name", "cell_methods")}
        areas = xr.DataArray(values, dims=dims, name=name, attrs=attrs)
        areas.encoding["source"] = where(entry)
    else:
        areas = open_entries([entry], [name])[name]
    extra = [dim for dim in areas.dims if dim not in field.dims]
    areas = areas.isel(dict.fromkeys(extra, 0), drop=True).reset_coords(drop=True)
    return areas.transpose(*(dim for dim in field.dims if dim in areas.dims))
