"""Statistics of a stored result for its checks, computed in its Region.

Belongs here: choosing the fields to check, and their statistics. Does not belong here: acceptable values (verdicts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from xdask_pipelines.climate import field_statistics, grid_of, mean_of_partials
from xdask_pipelines.climate.axes import native_names
from xdask_pipelines.climate.grids.shapes import Shape, is_gridded, shape_of
from xdask_pipelines.climate.partials import is_partial
from xdask_pipelines.climate.regions import region_fraction

Part = xr.DataArray | xr.Dataset
_LEAST = ("south_finite_count", "north_finite_count", "minimum")
_MOST = ("maximum", "seam_step", "largest_step", "seam_ratio")


def checked_fields(result: Part, preview: Callable[[Any], Any]) -> dict[str, xr.DataArray]:
    """Return the fields of a result to check, by variable; ``""`` for a single one.

    An array is checked completely, independently of its picture. For a dataset, the result of ``preview`` is checked;
    for a partial, its mean; for any other dataset without preview, all variables.
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
    """Return whether the cells of a field cover the whole sphere; only then it has pole rows and a seam."""
    return is_gridded(field) and grid_of(field).complete


def form_of(field: xr.DataArray) -> Shape | None:
    """Return the shape of a field without dimensions such as steps, members and levels."""
    if field.ndim <= 2:
        return shape_of(field)
    return "map" if is_gridded(field) else "native map" if native_names(field) else None


def field_figures(field: xr.DataArray, gaps: str | None = None) -> xr.Dataset:
    """Compute statistics of one field over all steps, members and levels; lazy if the field is lazy.

    Parameters
    ----------
    field
        Of any shape.
    gaps
        What its analysis declares (`assets.analysis`); with a region, cells without value outside it are counted.

    Returns
    -------
    ``size``, ``finite_count``, ``nan_count``, ``minimum`` and ``maximum`` (of finite values). Of a map also the other
    figures of ``climate.field_statistics``: the fewest finite values in rows nearest to the poles, and ``seam_ratio``, the
    largest of ``seam_step`` by ``largest_step``; and with a region ``unexpected_nan_count``.
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
    figures = field_statistics(field).reset_coords(drop=True)
    figures["seam_ratio"] = figures["seam_step"] / figures["largest_step"].where(figures["largest_step"] > 0)
    if figures["minimum"].ndim:
        counts = {name: figures[name].sum() for name in ("finite_count", "nan_count")}
        least, most = {n: figures[n].min() for n in _LEAST}, {n: figures[n].max() for n in _MOST}
        figures = xr.Dataset({**counts, **least, **most})
    if gaps not in (None, "none", "allowed"):
        elsewhere = region_fraction(field, str(gaps)).reset_coords(drop=True) == 0
        figures["unexpected_nan_count"] = (field.reset_coords(drop=True).isnull() & elsewhere).sum()
    return figures.assign(size=size)


def partial_figures(result: xr.Dataset) -> xr.Dataset:
    """Compute statistics of the counts of a partial; lazy if the partial is lazy.

    Returns
    -------
    ``steps_with_data``: the most values that any cell has. ``uneven_cells``: cells that have values, but fewer.
    """
    count = result["count"]
    most = count.max()
    return xr.Dataset({"steps_with_data": most, "uneven_cells": ((count > 0) & (count < most)).sum()}).reset_coords(
        drop=True
    )
