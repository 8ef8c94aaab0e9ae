"""Means from partials: of a whole period, or of each month.

Belongs here: dividing sums by counts. Does not belong here: computing and adding partials (partials), means with weights
(means).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import is_time, origin
from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.climate.kernels import elementwise
from xdask_pipelines.climate.masks import ROUNDING, require_fraction
from xdask_pipelines.climate.partials import COUNT, STEPS, SUM, is_of_months, require_partial, steps_of
from xdask_pipelines.errors import ClimateError


def mean_of_partials(partial: xr.Dataset, min_weight: float = 1.0) -> xr.DataArray:
    """Compute the mean from a partial, with equal weights for all values.

    Partials of several months (along time, or along the dimension ``partition``) are added first. All other dimensions are
    kept.

    Parameters
    ----------
    partial
        From ``month_partial``, ``combine_partials`` or a store of several.
    min_weight
        Smallest fraction of the time steps that must have values in a cell, from 0 (any) to 1 (all): with less, the
        mean of the cell is NaN.

    Returns
    -------
    The mean in float64, with the units of the sum and its dimensions without ``partition``.

    Raises
    ------
    ClimateError
        If the argument is not a partial, or ``min_weight`` is not from 0 to 1.
    """
    require_fraction(min_weight, "min_weight")
    require_partial(partial, "mean_of_partials")
    divide = _Divide(min_weight * (steps_of(partial) or 0))
    total, count = partial[SUM], partial[COUNT]
    if dims := [dim for dim in total.dims if is_of_months(total, dim)]:
        total, count = (each.sum(dims, skipna=False, keep_attrs=True) for each in (total, count))
    coords = {name: c for name, c in total.coords.items() if name != STEPS and (c.ndim or not is_time(c))}
    mean = elementwise(divide, total, count, label="mean-of-partials", dtype=np.float64)
    attrs = {**partial.attrs, **total.attrs, "cell_methods": "time: mean"}
    return xr.DataArray(mean, coords=coords, name=str(partial.attrs.get("variable", "")) or None, attrs=attrs)


def monthly_means(partials: xr.Dataset, min_weight: float = 1.0) -> xr.DataArray:
    """Compute the mean of each month from partials of several, so that months are steps of time.

    Parameters
    ----------
    partials
        Partials along time, as an analysis gets a result with monthly partitions.
    min_weight
        Smallest fraction of a month's time steps that must have values in a cell, from 0 to 1.

    Returns
    -------
    The means in float64, with dimension time, bounds of the months, and units of the sum; lazy if the partials are lazy.

    Raises
    ------
    ClimateError
        If the argument is not a partial or has no time, or ``min_weight`` is not from 0 to 1.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> months = {"time": xr.date_range("2011-01-01", periods=2, freq="MS", use_cftime=True)}
    >>> sums = xr.DataArray([744 * 280.0, 672 * 281.0], coords=months, attrs={"units": "K"})
    >>> partials = xr.Dataset({"sum": sums, "count": xr.DataArray([744, 672], coords=months)})
    >>> monthly_means(partials).values.tolist()
    [280.0, 281.0]
    """
    require_fraction(min_weight, "min_weight")
    require_partial(partials, "monthly_means")
    total, count = partials[SUM], partials[COUNT]
    if not any(is_time(total[dim]) for dim in total.dims if dim in total.coords):
        raise ClimateError(
            f"the partials{origin(total)} have no time dimension. Pass those of several months, as an analysis gets "
            "them from a result with monthly partitions; mean_of_partials gives the mean of one"
        )
    needed = min_weight * (1.0 - ROUNDING) * (total[STEPS] if STEPS in total.coords else 0)
    mean = total.where((count > 0) & (count >= needed)) / count
    attrs = {**partials.attrs, **total.attrs, "cell_methods": "time: mean"}
    return (
        mean.drop_vars(STEPS, errors="ignore")
        .rename(str(partials.attrs.get("variable", "")) or None)
        .assign_attrs(attrs)
    )


@dataclass(frozen=True)
class _Divide:
    """Sums by counts; NaN where there are fewer values than needed."""

    needed: float

    def __call__(self, total: Float, count: NDArray[np.int64]) -> Float:
        enough = (count > 0) & (count >= self.needed * (1.0 - ROUNDING))
        mean: Float = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=enough)
        return mean
