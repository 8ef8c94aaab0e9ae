"""Means over time, whole or in monthly partials that add up exactly, and over the area of the sphere.

Belongs here: sums, counts and weights. Does not belong here: reading months or storing partials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import PARTITION, horizontal_names, is_time, origin, require_field, time_name
from xdask_pipelines.climate.grid import Float, Grid, grid_of
from xdask_pipelines.climate.kernels import add, elementwise, map_fields, sum_over
from xdask_pipelines.climate.periods import EXCERPT
from xdask_pipelines.climate.time_axis import DAY, TimeAxis
from xdask_pipelines.climate.time_faults import fault_of
from xdask_pipelines.climate.tolerance import same_coordinate
from xdask_pipelines.errors import ClimateError

_SUM, _COUNT = "sum", "count"


def month_partial(field: xr.DataArray) -> xr.Dataset:
    """Sum and count of the finite values over time, from which means of any length follow.

    Parameters
    ----------
    field
        Hourly values, dimensions time, latitude and longitude; chunks may be of any shape and are kept in space.

    Returns
    -------
    Dataset with ``sum`` (float64, the field's units; exact if values are multiples of 1/32 K) and ``count`` (int64),
    without the time dimension. A month of 0.25 degree ERA5 gives 16.6 MB for 3.09 GB.

    Raises
    ------
    ClimateError
        A step is there twice, steps are out of order, or one is missing between others. A field whose attribute
        ``excerpt`` says that its data are knowingly incomplete may lack steps.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> hours = np.datetime64("2011-01-01", "ns") + np.arange(48) * np.timedelta64(1, "h")
    >>> coords = {"time": hours, "lat": [0.0, 10.0], "lon": [0.0, 10.0]}
    >>> field = xr.DataArray(np.full((48, 2, 2), 280.0), coords=coords, attrs={"units": "K"})
    >>> days = [month_partial(field[:24]), month_partial(field[24:])]
    >>> mean_of_partials(combine_partials(days)).values.tolist()
    [[280.0, 280.0], [280.0, 280.0]]
    """
    require_field(field, "month_partial")
    time = time_name(field)
    axis = _sound_axis(field, time)
    if axis.kind == "uneven" and not field.attrs.get(EXCERPT):
        raise ClimateError(
            f"{time!r}{origin(field)} has steps that are unevenly apart, so that each would not weigh the "
            "same. If the data are knowingly incomplete, declare the dataset `excerpt: true` in regions.yaml "
            f"(field.attrs[{EXCERPT!r}] says so)"
        )
    if axis.size > 1 and _differ(axis):
        raise ClimateError(
            f"{time!r}{origin(field)} has steps of different lengths (months, years, or by their bounds), and a partial "
            "weighs all steps the same. Take climate.time_weighted_mean instead"
        )
    _refuse_holes(field, time, axis)
    # One task a block gives both, so that a block of hours is read once and dropped at once.
    both = sum_over(_sum_and_count, field, time, label="month-partial", dtype=np.float64, new={"partial": 2})
    coords = _without(field, time)
    shared = {key: field.attrs[key] for key in ("standard_name", "units", "long_name") if key in field.attrs}
    total = xr.DataArray(both[0], coords=coords, attrs={**shared, "cell_methods": f"{time}: sum"})
    count = xr.DataArray(both[1].astype(np.int64), coords=coords, attrs={"units": "1", "long_name": "finite values"})
    instants = field.indexes[time]
    attrs = {
        **{key: value for key, value in field.attrs.items() if key not in shared and key != "cell_methods"},
        "variable": str(field.name) if field.name is not None else "",
        "time_coverage_start": str(instants[0]),
        "time_coverage_end": str(instants[-1]),
        "time_steps": len(instants),
        "time_step_seconds": axis.step[1],
    }
    return xr.Dataset({_SUM: total, _COUNT: count}, attrs=attrs)


def combine_partials(partials: Sequence[xr.Dataset]) -> xr.Dataset:
    """Add partials of the same variable and coordinates: the partial of all their months together.

    Members, levels and native grids (dimensions j and i) are added like any other: value by value.

    Raises
    ------
    ClimateError
        If there are none, or variables, units, dimensions or coordinates differ.
    """
    if not partials:
        raise ClimateError("no monthly partials to combine; ask for at least one month")
    for i, partial in enumerate(partials):
        _require_partial(partial, "combine_partials", f"partial {i}")
    first = partials[0]
    for i, other in enumerate(partials[1:], start=1):
        _require_same(first, other, i)
    _require_apart(partials)
    attrs = {
        **first.attrs,
        "time_coverage_start": min(str(p.attrs.get("time_coverage_start", "")) for p in partials),
        "time_coverage_end": max(str(p.attrs.get("time_coverage_end", "")) for p in partials),
        "time_steps": sum(int(p.attrs.get("time_steps", 0)) for p in partials),
    }
    added = {name: add(*(p[name] for p in partials), label="combine-partials") for name in (_SUM, _COUNT)}
    return xr.Dataset(added, attrs=attrs)


def _require_apart(partials: Sequence[xr.Dataset]) -> None:
    """Raise ``ClimateError`` for partials that share steps, or whose steps are of different lengths."""
    lengths = {float(p.attrs["time_step_seconds"]) for p in partials if p.attrs.get("time_step_seconds")}
    if len(lengths) > 1:
        raise ClimateError(
            f"partials are of steps of {' and '.join(f'{s / 3600:g} h' for s in sorted(lengths))}, which would weigh the "
            "same. Combine those of equal steps, and weigh their means"
        )
    ends = ((p.attrs.get("time_coverage_start"), p.attrs.get("time_coverage_end"), i) for i, p in enumerate(partials))
    known = sorted((str(start), str(end), i) for start, end, i in ends if start and end)
    for (_, end, i), (start, _, j) in pairwise(known):
        if len(start) == len(end) and start <= end:
            raise ClimateError(f"partials {i} and {j} share steps: one ends at {end}, the other begins at {start}")


def _differ(axis: TimeAxis) -> bool:
    """Whether steps last differently: months do, but not in a calendar of 360 days; bounds in float32 differ by minutes."""
    if axis.intervals is None:
        return False
    lengths = axis.intervals[1] - axis.intervals[0]
    allowed = 1e-4 if axis.kind in ("month", "year") else 0.1
    return bool(np.ptp(lengths) > allowed * lengths.min())


def mean_of_partials(partial: xr.Dataset) -> xr.DataArray:
    """Mean of the values that a partial sums up, each weighing the same; NaN where there is none.

    Partitions of one store (the dimension ``partition``) are summed over first. All other dimensions stay: members and
    levels, and whatever the horizontal ones are called.

    Returns
    -------
    Dimensions of the sum without ``partition``, float64, units of the sum.

    Raises
    ------
    ClimateError
        If it is no partial.
    """
    _require_partial(partial, "mean_of_partials")
    total, count = partial[_SUM], partial[_COUNT]
    if PARTITION in total.dims:
        total, count = (each.sum(PARTITION, skipna=False, keep_attrs=True) for each in (total, count))
    coords = {name: c for name, c in total.coords.items() if c.ndim or not is_time(c)}
    mean = elementwise(_divide, total, count, label="mean-of-partials", dtype=np.float64)
    attrs = {**partial.attrs, **total.attrs, "cell_methods": "time: mean"}
    return xr.DataArray(mean, coords=coords, name=str(partial.attrs.get("variable", "")) or None, attrs=attrs)


def is_partial(result: Any) -> bool:
    """Whether something is a sum and a count, as ``month_partial`` makes them."""
    return isinstance(result, xr.Dataset) and {_SUM, _COUNT} <= set(result.data_vars)


def _require_partial(partial: Any, function: str, which: str = "its argument") -> None:
    missing = [n for n in (_SUM, _COUNT) if not isinstance(partial, xr.Dataset) or n not in partial.data_vars]
    if missing:
        raise ClimateError(
            f"{function} takes partials, datasets of sum and count as month_partial makes them; {which} is "
            f"{type(partial).__name__} without {' and '.join(missing)}{origin(partial)}. Call month_partial(field) first"
        )


def _require_same(first: xr.Dataset, other: xr.Dataset, i: int) -> None:
    """Raise unless two partials may be added value by value."""
    one, two = first[_SUM], other[_SUM]
    for what, mine, its in (
        ("units", one.attrs.get("units"), two.attrs.get("units")),
        ("variable", first.attrs.get("variable"), other.attrs.get("variable")),
    ):
        if mine != its:
            raise ClimateError(
                f"partial {i}{origin(two)} is in {its!r}, the first in {mine!r}; convert one of them"
                if what == "units"
                else f"partial {i}{origin(two)} is of {its!r}, the first of {mine!r}; combine those of one variable",
                index=i,
            )
    if set(one.dims) != set(two.dims):
        raise ClimateError(
            f"partial {i} has dimensions {tuple(map(str, two.dims))}, the first {tuple(map(str, one.dims))}; choose the "
            "same levels and members for both",
            index=i,
        )
    for name in (*one.dims, *(n for n in one.coords if n in two.coords and n not in one.dims and not is_time(one[n]))):
        if not same_coordinate(one[name].values, two[name].values):
            raise ClimateError(
                f"partial {i}{origin(two[name], two)} differs from the first in {str(name)!r}; they are of two "
                "grids, levels or members. Choose the same for both, or regrid one",
                index=i,
            )


def time_weighted_mean(field: xr.DataArray) -> xr.DataArray:
    """Mean over time, each step weighing as long as it lasts; NaN where any step is.

    Steps last from their lower to their upper bound if bounds travel with the field (``axes.with_bounds``). Without
    bounds, months and years last as long as they do in the data's own calendar, and steps that are evenly apart weigh the
    same. A scalar time is a mean already.

    Raises
    ------
    ClimateError
        How long steps last cannot be known, steps are out of order or doubled, bounds cannot be true, or steps are missing
        between others. A field whose attribute ``excerpt`` says that its data are knowingly incomplete may lack steps.

    Examples
    --------
    >>> import xarray as xr
    >>> months = xr.date_range("2011-01", periods=2, freq="MS", use_cftime=True)
    >>> mean = time_weighted_mean(xr.DataArray([0.0, 59.0], coords={"time": months}))  # 31 and 28 days
    >>> float(mean)
    28.0
    """
    require_field(field, "time_weighted_mean")
    if not any(is_time(field[dim]) for dim in field.dims if dim in field.coords) and any(
        is_time(c) for c in field.coords.values() if c.ndim == 0
    ):
        return field
    time = time_name(field)
    lengths = _lengths(field, time)
    mean = sum_over(_Weighted(lengths / lengths.sum()), field, time, label="time-weighted-mean", dtype=np.float64)
    cell_methods = str(field.attrs.get("cell_methods", ""))
    attrs = {**field.attrs, "cell_methods": cell_methods if "time: mean" in cell_methods else "time: mean"}
    return xr.DataArray(mean, coords=_without(field, time), name=field.name, attrs=attrs)


def area_weighted_mean(field: xr.DataArray) -> xr.DataArray:
    """Mean over latitude and longitude, each cell weighing its exact area; NaN if any value is.

    Returns
    -------
    float64, the field's other dimensions (time, members, levels), lazy if the field is.

    Raises
    ------
    ClimateError
        If the field has no latitude and longitude dimensions, or its cells do not touch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> warm_tropics = np.array([[0.0], [10.0], [10.0], [0.0]]) + np.zeros((4, 8))
    >>> coords = {"lat": [67.5, 22.5, -22.5, -67.5], "lon": np.arange(0, 360, 45)}
    >>> mean = area_weighted_mean(xr.DataArray(warm_tropics, coords=coords))
    >>> round(float(mean), 4)  # sin 45 of the area lies within 45 degrees of the equator
    7.0711
    """
    require_field(field, "area_weighted_mean")
    horizontal = horizontal_names(field)
    mean = map_fields(AreaMeanKernel(grid_of(field)), field, horizontal, label="area-weighted-mean", dtype=np.float64)
    attrs = {**field.attrs, "cell_methods": f"{field.attrs.get('cell_methods', '')} area: mean".strip()}
    return xr.DataArray(mean, coords=_without(field, *horizontal), name=field.name, attrs=attrs)


@dataclass(frozen=True)
class AreaMeanKernel:
    """Area-weighted means of (..., ny, nx), shape (...)."""

    grid: Grid

    def __call__(self, fields: NDArray[Any]) -> Float:
        """Weigh rows and columns apart: a cell's area is the product of both."""
        lat, lon = self.grid.lat.measure, self.grid.lon.measure
        mean: Float = fields.astype(np.float64) @ (lon / lon.sum()) @ (lat / lat.sum())
        return mean


@dataclass(frozen=True)
class _Weighted:
    weights: Float

    def __call__(self, block: NDArray[Any], steps: slice) -> Float:
        total: Float = np.tensordot(self.weights[steps], block.astype(np.float64), axes=1)
        return total


def _sum_and_count(block: NDArray[Any], _steps: slice) -> Float:
    total = block.sum(axis=0, dtype=np.float64)
    if np.isfinite(total).all():  # then all values are. 0.016 s for 24 h of 721 x 1440, against 0.060 s with masks
        return np.stack([total, np.full_like(total, len(block))])
    finite = np.isfinite(block)
    return np.stack([np.sum(block, axis=0, dtype=np.float64, where=finite), np.sum(finite, axis=0, dtype=np.float64)])


def _divide(total: Float, count: NDArray[np.int64]) -> Float:
    mean: Float = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return mean


def _lengths(field: xr.DataArray, time: str) -> Float:
    """How long each step lasts, in days, shape (nt,); refuses steps of unknown length and holes between steps."""
    axis = _sound_axis(field, time)
    if axis.kind == "moment":
        return np.ones(1)
    if axis.intervals is None and axis.kind == "even":
        step = axis.step[1]
        if (axis.gaps_seconds > 1.5 * step).any() and not field.attrs.get(EXCERPT):
            i = int(np.argmax(axis.gaps_seconds > 1.5 * step))
            raise ClimateError(
                f"{time!r}{origin(field)} lacks steps between {axis.date(axis.seconds[i])} and "
                f"{axis.date(axis.seconds[i + 1])}. Select a period without holes"
            )
        return np.full(axis.size, step / DAY)
    if axis.intervals is None:
        raise ClimateError(
            f"{time!r}{origin(field)} has steps that are unevenly apart or longer than a month, and no bounds travel with "
            "the field, so that how long each step lasts is not known. Take the field from its dataset with "
            "climate.with_bounds(dataset, variable), or average with mean() if all steps weigh the same"
        )
    lower, upper = axis.intervals
    _refuse_holes(field, time, axis)
    return (upper - lower) / DAY


def _sound_axis(field: xr.DataArray, time: str) -> TimeAxis:
    axis = TimeAxis.of(field[time])
    if fault := fault_of(axis):
        drop = f"field.drop_vars(['{time}_lower', '{time}_upper'])"
        remedy = (
            f"drop the bounds if the stamps are right ({drop})" if "bounds" in fault else "select sound steps with isel"
        )
        raise ClimateError(f"{time!r}{origin(field)} {fault}. Use another file, or {remedy}")
    return axis


def _refuse_holes(field: xr.DataArray, time: str, axis: TimeAxis) -> None:
    if axis.holes and not field.attrs.get(EXCERPT):
        raise ClimateError(
            f"{time!r}{origin(field)} lacks {axis.missing()}. Select a period without holes, or, if the data are "
            "knowingly incomplete, declare the dataset `excerpt: true` in regions.yaml "
            f"(field.attrs[{EXCERPT!r}] says so)"
        )


def _without(field: xr.DataArray, *dims: str) -> dict[Any, xr.DataArray]:
    """Coordinates that do not depend on the given dimensions."""
    return {name: c for name, c in field.coords.items() if not set(dims) & set(c.dims)}
