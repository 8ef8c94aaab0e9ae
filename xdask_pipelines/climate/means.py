"""Weighted means over time, and over the area of the sphere.

Belongs here: weights of steps and cells. Does not belong here: monthly partials (partials).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import (
    coordinates_without,
    horizontal_names,
    is_time,
    origin,
    require_field,
    time_name,
)
from xdask_pipelines.climate.cell_measures import attributes_without_measures, carried_areas
from xdask_pipelines.climate.grids.grid import Float, Grid, grid_of
from xdask_pipelines.climate.grids.tolerance import same_coordinate
from xdask_pipelines.climate.kernels import elementwise, map_fields, sum_over
from xdask_pipelines.climate.masks import ROUNDING, divided, renormalised, require_fraction
from xdask_pipelines.climate.times.periods import EXCERPT
from xdask_pipelines.climate.times.step_checks import refuse_gaps, sound_axis
from xdask_pipelines.climate.times.time_axis import DAY
from xdask_pipelines.errors import ClimateError


def time_weighted_mean(field: xr.DataArray, min_weight: float = 1.0) -> xr.DataArray:
    """Compute the mean over time of the values that are not NaN, with each step weighted by its length.

    The length of a step is that between its bounds, if the field carries them (``axes.with_bounds``). Without bounds,
    months and years have their lengths in the data's own calendar, and steps at even intervals have equal weights. A
    field with a scalar time is returned unchanged.

    Parameters
    ----------
    field
        A field with a time dimension in any position, and any other dimensions.
    min_weight
        Smallest fraction of the period that must have values in a cell, from 0 (any) to 1 (all): with less, the mean of
        the cell is NaN. It is about NaN; steps that the time axis lacks are an error.

    Raises
    ------
    ClimateError
        If lengths of steps are unknown, steps are out of order, duplicate or missing, bounds are invalid, or
        ``min_weight`` is not from 0 to 1. A field with the attribute ``excerpt``, whose data are knowingly incomplete,
        may lack steps.

    Examples
    --------
    >>> import xarray as xr
    >>> months = xr.date_range("2011-01", periods=2, freq="MS", use_cftime=True)
    >>> mean = time_weighted_mean(xr.DataArray([0.0, 59.0], coords={"time": months}))  # 31 and 28 days
    >>> float(mean)
    28.0
    """
    require_fraction(min_weight, "min_weight")
    require_field(field, "time_weighted_mean")
    if not any(is_time(field[dim]) for dim in field.dims if dim in field.coords) and any(
        is_time(c) for c in field.coords.values() if c.ndim == 0
    ):
        return field
    time = time_name(field)
    lengths = step_lengths(field, time)
    mean = weighted_over_time(field, time, lengths / lengths.sum(), min_weight)
    cell_methods = str(field.attrs.get("cell_methods", ""))
    attrs = {**field.attrs, "cell_methods": cell_methods if "time: mean" in cell_methods else "time: mean"}
    return xr.DataArray(mean, coords=coordinates_without(field, time), name=field.name, attrs=attrs)


def area_weighted_mean(
    field: xr.DataArray, min_fraction: float = 1.0, areas: xr.DataArray | None = None
) -> xr.DataArray:
    """Compute the mean over latitude and longitude, weighted by exact cell areas, of the values that are not NaN.

    Parameters
    ----------
    field
        A field with the dimensions latitude and longitude, global or of a region, and any others.
    min_fraction
        Smallest fraction of the grid's area that must have values, from 0 (any) to 1 (all): with less, the mean is NaN.
        For an ocean field, for example, 0.
    areas
        Areas of the cells, over the field's horizontal dimensions, for curvilinear and unstructured fields: ``areacella`` or
        ``areacello`` of CMIP6. NaN counts as 0. None computes exact areas from latitudes and longitudes, or takes those that
        such a field carries as the coordinate in its ``cell_measures``: fields opened from a catalog carry them if the
        catalog has them.

    Returns
    -------
    The mean in float64, with the field's other dimensions (time, members, levels); lazy if the field is lazy.

    Raises
    ------
    ClimateError
        If the field has neither latitude and longitude dimensions nor areas, areas do not fit the field, its cells do not
        touch, or ``min_fraction`` is not from 0 to 1.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> warm_tropics = np.array([[0.0], [10.0], [10.0], [0.0]]) + np.zeros((4, 8))
    >>> coords = {"lat": [67.5, 22.5, -22.5, -67.5], "lon": np.arange(0, 360, 45)}
    >>> mean = area_weighted_mean(xr.DataArray(warm_tropics, coords=coords))
    >>> round(float(mean), 4)  # sin 45 of the area lies within 45 degrees of the equator
    7.0711
    """
    require_fraction(min_fraction, "min_fraction")
    require_field(field, "area_weighted_mean")
    if areas is None and (carried := carried_areas(field)) is not None:
        areas = carried.reset_coords(drop=True)
    if areas is not None:
        return _mean_by_areas(field, areas, min_fraction)
    horizontal = horizontal_names(field)
    mean = map_fields(
        AreaMeanKernel(grid_of(field), float(min_fraction)),
        field,
        horizontal,
        label="area-weighted-mean",
        dtype=np.float64,
    )
    return xr.DataArray(mean, coords=coordinates_without(field, *horizontal), name=field.name, attrs=_of_mean(field))


def _mean_by_areas(field: xr.DataArray, areas: xr.DataArray, min_fraction: float) -> xr.DataArray:
    """Compute the mean of a field over the dimensions of given areas."""
    require_field(areas, "area_weighted_mean: areas")
    dims = tuple(map(str, areas.dims))
    fitting = set(dims) <= set(field.dims) and all(field.sizes[dim] == areas.sizes[dim] for dim in dims)
    if not dims or not fitting:
        raise ClimateError(
            f"area_weighted_mean: the areas{origin(areas)} have the sizes {dict(areas.sizes)}, the field{origin(field)} "
            f"{dict(field.sizes)}; pass the areas of the cells of this field's own grid"
        )
    for name in field.coords:
        both = name in areas.coords and set(field[name].dims) <= set(dims) and not is_time(field[name])
        if (
            both
            and field[name].ndim
            and not same_coordinate(field[name].values, areas[name].transpose(*field[name].dims).values)
        ):
            raise ClimateError(
                f"area_weighted_mean: the field{origin(field)} and its areas{origin(areas)} differ in {str(name)!r}; pass "
                "the areas of the cells of this field's own grid"
            )
    weights = areas.reset_coords(drop=True).drop_vars(dims, errors="ignore").astype(np.float64).fillna(0.0)
    values = field.reset_coords(drop=True).drop_vars(field.dims, errors="ignore").astype(np.float64)
    known = values.notnull()
    total = (values.fillna(0.0) * weights).sum(dims)
    share = (known * weights).sum(dims) / weights.sum(dims)
    enough = (share >= min_fraction - ROUNDING) & (share > ROUNDING)
    mean = (total / (known * weights).sum(dims)).where(enough)
    return xr.DataArray(mean.variable, coords=coordinates_without(field, *dims), name=field.name, attrs=_of_mean(field))


def _of_mean(field: xr.DataArray) -> dict[Any, Any]:
    """Return the attributes of a field's mean over area."""
    cell_methods = f"{field.attrs.get('cell_methods', '')} area: mean".strip()
    return {**attributes_without_measures(field.attrs), "cell_methods": cell_methods}


@dataclass(frozen=True)
class AreaMeanKernel:
    """Area-weighted means of (..., ny, nx), shape (...)."""

    grid: Grid
    min_fraction: float = 1.0

    def __call__(self, fields: NDArray[Any]) -> Float:
        """Return the means; NaN where less than ``min_fraction`` of the area has values."""
        return renormalised(self._weighted, fields.astype(np.float64), self.min_fraction, complete=True)

    def _weighted(self, fields: Float) -> Float:
        """Apply the weights of rows and columns separately: a cell's area is their product."""
        lat, lon = self.grid.lat.measure, self.grid.lon.measure
        mean: Float = fields @ (lon / lon.sum()) @ (lat / lat.sum())
        return mean


def weighted_over_time(field: xr.DataArray, time: str, weights: Float, min_weight: float) -> xr.Variable:
    """Sum a field over time with weights that sum to 1, renormalised to the values that are not NaN."""
    if min_weight == 1.0:  # a NaN spreads to the sum: nothing is counted
        return sum_over(_Weighted(weights), field, time, label="time-weighted-mean", dtype=np.float64)
    both = sum_over(
        _WeightedKnown(weights), field, time, label="time-weighted-mean", dtype=np.float64, new=_SUM_AND_SHARE
    )
    total, share = (xr.DataArray(both[i]) for i in range(2))
    return elementwise(_Divided(min_weight), total, share, label="time-weighted-mean", dtype=np.float64)


_SUM_AND_SHARE = {"sum_and_share": 2}


@dataclass(frozen=True)
class _Weighted:
    weights: Float

    def __call__(self, block: NDArray[Any], steps: slice) -> Float:
        total: Float = np.tensordot(self.weights[steps], block.astype(np.float64), axes=1)
        return total


@dataclass(frozen=True)
class _WeightedKnown:
    weights: Float

    def __call__(self, block: NDArray[Any], steps: slice) -> Float:
        known = ~np.isnan(block)
        weights = self.weights[steps]
        filled = np.where(known, block, 0.0).astype(np.float64)
        return np.stack([np.tensordot(weights, each, axes=1) for each in (filled, known.astype(np.float64))])


@dataclass(frozen=True)
class _Divided:
    min_weight: float

    def __call__(self, total: Float, share: Float) -> Float:
        return divided(total, share, self.min_weight)


def step_lengths(field: xr.DataArray, time: str) -> Float:
    """Return the length of each step in days, shape (nt,); raise if lengths are unknown or steps are missing."""
    axis = sound_axis(field, time)
    if axis.kind == "moment":
        return np.ones(1)
    if axis.intervals is None and axis.kind == "even":
        step = axis.step[1]
        if (axis.gaps_seconds > 1.5 * step).any() and not field.attrs.get(EXCERPT):
            i = int(np.argmax(axis.gaps_seconds > 1.5 * step))
            raise ClimateError(
                f"{time!r}{origin(field)} lacks steps between {axis.date(axis.seconds[i])} and "
                f"{axis.date(axis.seconds[i + 1])}. Select a period without gaps"
            )
        return np.full(axis.size, step / DAY)
    if axis.intervals is None:
        raise ClimateError(
            f"{time!r}{origin(field)} has steps at uneven intervals or longer than a month, but no bounds, so the length of "
            "each step is unknown. Select the field from its dataset with climate.with_bounds(dataset, variable), or use "
            "mean() if all steps have equal weights"
        )
    lower, upper = axis.intervals
    refuse_gaps(field, time, axis)
    return (upper - lower) / DAY
