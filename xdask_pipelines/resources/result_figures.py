"""Figures of a stored result, computed where it lies: what its checks look at.

Belongs here: which fields of a result are checked, and a few numbers of each. Does not belong here: what is acceptable
(checks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from xdask_pipelines.climate import field_statistics, grid_of, mean_of_partials
from xdask_pipelines.climate.axes import native_names
from xdask_pipelines.climate.partials import is_partial
from xdask_pipelines.climate.shapes import Shape, is_gridded, shape_of

Part = xr.DataArray | xr.Dataset
_LEAST = ("south_finite_count", "north_finite_count", "minimum")
_MOST = ("maximum", "seam_step", "largest_step", "seam_ratio")


def checked_fields(result: Part, preview: Callable[[Any], Any]) -> dict[str, xr.DataArray]:
    """Fields of a result that are checked, by variable; ``""`` where there is only one.

    An array is checked whole, whatever its picture shows. Of a dataset, what ``preview`` makes of it; a partial counts as
    the mean that it stands for, and any other dataset without a preview as all its variables.
    """
    if isinstance(result, xr.DataArray):
        return {"": result}
    shown = preview(result)
    if is_partial(shown):
        shown = mean_of_partials(shown)
    if isinstance(shown, xr.DataArray):
        return {"": shown}
    return {str(name): variable for name, variable in shown.data_vars.items()}


def covers_globe(field: xr.DataArray) -> bool:
    """Whether a field has cells that cover the whole sphere: only then has it pole rows and a seam."""
    return is_gridded(field) and grid_of(field).complete


def form_of(field: xr.DataArray) -> Shape | None:
    """What a field is, of which further dimensions are steps, members and levels."""
    if field.ndim <= 2:
        return shape_of(field)
    return "map" if is_gridded(field) else "native map" if native_names(field) else None


def field_figures(field: xr.DataArray) -> xr.Dataset:
    """Scalars of one field, lazy if it is: over all steps, members and levels.

    Returns
    -------
    ``size``, ``finite_count``, ``nan_count``, ``minimum`` and ``maximum`` (of finite values). Of a map also the other
    figures of ``climate.field_statistics``: the fewest finite values in rows nearest to the poles, and ``seam_ratio``, the
    largest of ``seam_step`` by ``largest_step``.
    """
    size = xr.DataArray(field.size)
    if field.dtype == np.bool_:
        field = field.astype(np.int8)
    if not is_gridded(field):
        finite = field.where(np.isfinite(field))
        return xr.Dataset(
            {
                "size": size,
                "finite_count": np.isfinite(field).sum(),
                "nan_count": field.isnull().sum(),
                "minimum": finite.min(),
                "maximum": finite.max(),
            }
        ).reset_coords(drop=True)
    found = field_statistics(field).reset_coords(drop=True)
    found["seam_ratio"] = found["seam_step"] / found["largest_step"].where(found["largest_step"] > 0)
    if found["minimum"].ndim:
        counts = {name: found[name].sum() for name in ("finite_count", "nan_count")}
        least, most = {n: found[n].min() for n in _LEAST}, {n: found[n].max() for n in _MOST}
        found = xr.Dataset({**counts, **least, **most})
    return found.assign(size=size)


def partial_figures(result: xr.Dataset) -> xr.Dataset:
    """Scalars of what a partial counted, lazy if it is.

    Returns
    -------
    ``steps_with_data``: the most values that any cell has. ``uneven_cells``: cells that have values, but fewer.
    """
    count = result["count"]
    most = count.max()
    return xr.Dataset({"steps_with_data": most, "uneven_cells": ((count > 0) & (count < most)).sum()}).reset_coords(
        drop=True
    )
