"""Means of each month, season or year, and climatologies over years.

Belongs here: means over groups of time steps. Does not belong here: which steps are a group (``times.calendar_groups``),
the mean over all steps (``means``).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import coordinates_without, origin, require_field, time_name
from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.climate.kernels import elementwise, sum_over
from xdask_pipelines.climate.masks import divided, require_fraction
from xdask_pipelines.climate.means import step_lengths
from xdask_pipelines.climate.times.calendar_groups import SEASONS, CalendarGroups, Every, calendar_groups
from xdask_pipelines.climate.times.time_axis import TimeAxis
from xdask_pipelines.errors import ClimateError

#: Attribute of a result with the periods that the field does not cover completely.
LEFT_OUT = "left_out"


def period_means(field: xr.DataArray, every: Every, min_weight: float = 1.0) -> xr.DataArray:
    """Compute the mean of each complete month, season or year, with each step weighted by its length.

    Parameters
    ----------
    field
        A field with a time dimension in any position; steps must be inside one period.
    every
        ``"month"``, ``"season"`` (DJF, MAM, JJA, SON; December counts to the season of the next year) or ``"year"``.
    min_weight
        Smallest fraction of a period that must have values in a cell; with less, the mean is NaN.

    Returns
    -------
    The means in float64; lazy if the field is lazy. Times are the middles of the periods, with their bounds
    (``time_lower``, ``time_upper``). Periods that the field does not cover completely are left out, and named in the
    attribute ``left_out``.

    Raises
    ------
    ClimateError
        As ``time_weighted_mean``; also if a step is longer than a period, or no period is complete.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> months = xr.date_range("2010-11", periods=14, freq="MS", calendar="360_day", use_cftime=True)
    >>> field = xr.DataArray(np.arange(14.0), coords={"time": months}, attrs={"units": "K"})
    >>> period_means(field, "season").values.tolist()  # DJF 2011 to SON 2011
    [2.0, 5.0, 8.0, 11.0]
    """
    field, time, axis, groups, weights = _grouped(field, every, min_weight, "period_means")
    chosen = np.flatnonzero(groups.complete)
    first, last = np.searchsorted(groups.number, [chosen[0], chosen[-1] + 1])
    steps = slice(int(first), int(last))
    number = groups.number[steps] - chosen[0]
    part = field.isel({time: steps}).transpose(time, ...)
    size = int(chosen[-1] - chosen[0] + 1)
    kernel = _GroupMeans(number, weights[steps], size, float(min_weight))
    coords = {**coordinates_without(field, time), **_times(field[time], axis, groups, chosen[0], chosen[-1] + 1)}
    if part.chunks is None:
        means: Any = kernel(part.values)
    else:
        means = _map_groups(kernel, part.data, number)
    result = xr.DataArray(means, dims=part.dims, coords=coords, name=field.name, attrs=_attrs(field, groups, time))
    gaps = groups.complete[chosen[0] : chosen[-1] + 1]
    result = result if gaps.all() else result.isel({time: gaps})  # an excerpt may lack whole periods
    return result.transpose(*(dim for dim in field.dims))


def climatology(field: xr.DataArray, every: Every = "month", min_weight: float = 1.0) -> xr.DataArray:
    """Compute the mean of each month or season of the year, over all years.

    Seasons are those of ``period_means``: the December before belongs to DJF, and seasons that the field does not cover
    completely are left out. Years weigh as their steps do: a leap year's February has 29 days.

    Parameters
    ----------
    field, min_weight
        As for ``period_means``.
    every
        ``"month"`` or ``"season"``.

    Returns
    -------
    The means in float64, with the dimension ``month`` (1 to 12) or ``season`` (DJF, MAM, JJA, SON) first; lazy if the
    field is lazy.

    Raises
    ------
    ClimateError
        As ``period_means``; also if a month or season is never complete.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> months = xr.date_range("2001-01", periods=24, freq="MS", use_cftime=True)
    >>> field = xr.DataArray(np.arange(24.0), coords={"time": months}, attrs={"units": "K"})
    >>> climatology(field).values.tolist()[:3]
    [6.0, 7.0, 8.0]
    """
    if every == "year":
        raise ClimateError("a climatology is of months or seasons; use time_weighted_mean for the mean over all years")
    field, time, _, groups, weights = _grouped(field, every, min_weight, "climatology")
    labels = list(range(1, 13)) if every == "month" else list(SEASONS)
    position = groups.positions[groups.number] - (1 if every == "month" else 0)
    used = groups.complete[groups.number]
    matrix = np.zeros((len(labels), field.sizes[time]))
    matrix[position[used], np.flatnonzero(used)] = weights[used]
    total = matrix.sum(axis=1)
    if missing := [str(labels[i]) for i in np.flatnonzero(total == 0)]:
        raise ClimateError(
            f"climatology: {field.name or 'the field'}{origin(field)} has no complete {every} {', '.join(missing)}; it "
            f"covers {groups.starts[0]} until before {groups.ends[-1]}. Use a period of whole years"
        )
    matrix /= total[:, None]
    kernel = _Rows(matrix, float(min_weight))
    new: dict[str, int] = {**({"sum_and_share": 2} if min_weight < 1 else {}), every: len(labels)}
    sums = sum_over(kernel, field, time, label=f"climatology-{every}", dtype=np.float64, new=new)
    if min_weight < 1:
        parts = [xr.DataArray(sums[i]) for i in range(2)]
        sums = elementwise(_Shares(float(min_weight)), *parts, label=f"climatology-{every}", dtype=np.float64)
    coords = {**coordinates_without(field, time), every: labels}
    result = xr.DataArray(sums, coords=coords, name=field.name, attrs=_attrs(field, groups, time))
    return result.assign_attrs(cell_methods=f"{time}: mean within years {time}: mean over years")


def _grouped(
    field: xr.DataArray, every: Every, min_weight: float, function: str
) -> tuple[xr.DataArray, str, TimeAxis, CalendarGroups, Float]:
    """Return a field, its time, groups and weights of steps, after all checks."""
    require_fraction(min_weight, "min_weight")
    require_field(field, function)
    time = time_name(field)
    axis = TimeAxis.of(field[time])
    weights = step_lengths(field, time)
    groups = calendar_groups(axis, every, f"{function}: {time!r}{origin(field)}")
    if not groups.complete.any():
        start, stop = axis.span
        raise ClimateError(
            f"{function}: {field.name or 'the field'}{origin(field)} covers no complete {every}, only {start} until before "
            f"{stop}. Choose shorter periods, or more data"
        )
    return field, time, axis, groups, weights


def _attrs(field: xr.DataArray, groups: CalendarGroups, time: str) -> dict[str, Any]:
    left_out = [groups.name(int(i)) for i in np.flatnonzero(~groups.complete)]
    said = {LEFT_OUT: ", ".join(left_out[:6]) + (f" and {len(left_out) - 6} more" if len(left_out) > 6 else "")}
    return {**field.attrs, "cell_methods": f"{time}: mean", **(said if left_out else {})}


def _times(time: xr.DataArray, axis: TimeAxis, groups: CalendarGroups, first: int, stop: int) -> dict[str, Any]:
    """Return the middles of groups as times, and their bounds, as dates of the field's own type."""
    lower, upper = list(groups.starts[first:stop]), list(groups.ends[first:stop])
    middle = [start + (end - start) / 2 for start, end in zip(lower, upper, strict=True)]
    name = str(time.name)
    attrs = {"standard_name": "time", "axis": "T"}
    dates = {name: middle, f"{name}_lower": lower, f"{name}_upper": upper}
    if time.dtype.kind == "M":
        dates = {key: [np.datetime64(date.isoformat(), "ns") for date in each] for key, each in dates.items()}
    return {key: (name, np.array(each), attrs if key == name else {}) for key, each in dates.items()}


def _map_groups(kernel: _GroupMeans, data: da.Array, number: NDArray[np.intp]) -> da.Array:
    """Apply a kernel to blocks that begin and end with groups: no group is added up over blocks."""
    ends = np.cumsum(data.chunks[0])
    stops = np.unique(np.searchsorted(number, number[ends - 1], side="right"))
    aligned = data.rechunk({0: tuple(int(n) for n in np.diff(np.append(0, stops)))})
    edges = tuple(int(n) for n in np.append(0, stops))
    first = (0, *(int(number[stop]) for stop in edges[1:-1]))
    counts = tuple(np.diff([*first, kernel.size]).tolist())  # an excerpt may lack groups between blocks
    means: da.Array = da.map_blocks(
        _GroupBlock(kernel, edges, first, counts),
        aligned,
        dtype=np.float64,
        meta=np.empty((0,) * data.ndim),
        chunks=(counts, *aligned.chunks[1:]),
        token="period-means",
    )
    return means


@dataclass(frozen=True, eq=False)
class _GroupMeans:
    """Means of groups of consecutive steps: (nt, ...) to (size, ...)."""

    number: NDArray[np.intp]
    weights: Float
    size: int
    min_weight: float

    def __call__(self, block: NDArray[Any]) -> Float:
        total = np.bincount(self.number, self.weights, self.size)
        out = np.full((self.size, *block.shape[1:]), np.nan)
        edges = np.searchsorted(self.number, np.arange(self.size + 1))
        for i, (start, stop) in enumerate(pairwise(edges)):
            if start == stop:
                continue
            part, weight = block[start:stop].astype(np.float64), self.weights[start:stop]
            if self.min_weight == 1.0:
                out[i] = np.tensordot(weight, part, axes=1) / total[i]
                continue
            known = ~np.isnan(part)
            total_known = np.tensordot(weight, np.where(known, part, 0.0), axes=1) / total[i]
            share = np.tensordot(weight, known.astype(np.float64), axes=1) / total[i]
            out[i] = divided(total_known, share, self.min_weight)
        return out

    def part(self, start: int, stop: int, first: int, count: int) -> _GroupMeans:
        """Return the kernel of a part of the steps."""
        return _GroupMeans(self.number[start:stop] - first, self.weights[start:stop], count, self.min_weight)


@dataclass(frozen=True, eq=False)
class _GroupBlock:
    kernel: _GroupMeans
    edges: tuple[int, ...]
    first: tuple[int, ...]
    counts: tuple[int, ...]

    def __call__(self, block: NDArray[Any], block_id: tuple[int, ...]) -> Float:
        i = block_id[0]
        return self.kernel.part(self.edges[i], self.edges[i + 1], self.first[i], self.counts[i])(block)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Products of a matrix of weights (rows, nt) with blocks of steps; with ``min_weight`` < 1 also of what is known."""

    matrix: Float
    min_weight: float

    def __call__(self, block: NDArray[Any], steps: slice) -> Float:
        weights = self.matrix[:, steps]
        if self.min_weight == 1.0:
            out: Float = self._exact(weights, block)
            return out
        known = ~np.isnan(block)
        filled = np.where(known, block, 0.0).astype(np.float64)
        return np.stack([np.tensordot(weights, each, axes=1) for each in (filled, known.astype(np.float64))])

    @staticmethod
    def _exact(weights: Float, block: NDArray[Any]) -> Float:
        """Multiply row by row, without the steps of weight 0: a NaN there must not spread."""
        out = np.zeros((len(weights), *block.shape[1:]))
        for i, row in enumerate(weights):
            used = np.flatnonzero(row)
            out[i] = np.tensordot(row[used], block[used].astype(np.float64), axes=1)
        return out


@dataclass(frozen=True)
class _Shares:
    min_weight: float

    def __call__(self, total: Float, share: Float) -> Float:
        return divided(total, share, self.min_weight)
