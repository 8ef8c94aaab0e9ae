"""Trends: Sen's slope, and the Mann-Kendall test with its correction for ties.

Belongs here: robust trends in time. Does not belong here: means by year (``period_means``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from xdask_pipelines.climate.axes import coordinates_without, origin, require_field, time_name
from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.climate.kernels import along
from xdask_pipelines.climate.masks import ROUNDING, require_fraction
from xdask_pipelines.climate.times.step_checks import refuse_gaps, sound_axis
from xdask_pipelines.climate.times.time_axis import DAY
from xdask_pipelines.errors import ClimateError

# Days of a mean year, to measure time in years.
_YEAR_DAYS = {
    "360_day": 360.0,
    "noleap": 365.0,
    "365_day": 365.0,
    "all_leap": 366.0,
    "366_day": 366.0,
    "julian": 365.25,
}
_FEWEST = 4
_PAIRS_IN_MEMORY = 4_000_000


def sen_trend(field: xr.DataArray, min_weight: float = 1.0) -> xr.Dataset:
    """Compute Sen's slope over time and the two-sided p-value of the Mann-Kendall test, for each cell.

    The slope is the median of the slopes between all pairs of steps (Sen 1968, doi:10.1080/01621459.1968.10480934). The
    statistic S is the sum of the signs of all differences; its variance is corrected for ties, and S for continuity
    (Kendall 1975). Steps are taken as independent: remove the annual cycle first (``anomaly``, ``period_means``).

    Parameters
    ----------
    field
        A field with a time dimension of at least 4 steps, such as annual means.
    min_weight
        Smallest fraction of the steps that must have values in a cell; with less (or fewer than 4 values), slope and
        p-value are NaN.

    Returns
    -------
    Dataset without the time dimension: ``slope`` in the field's units per decade, ``p_value``, and ``trend_steps``, the
    number of values used. Lazy if the field is lazy: one task for each block in space.

    Raises
    ------
    ClimateError
        If steps are out of order, duplicate, missing or fewer than 4.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> years = xr.date_range("1981", periods=30, freq="YS", calendar="noleap", use_cftime=True)
    >>> field = xr.DataArray(0.03 * np.arange(30), coords={"time": years}, name="tas", attrs={"units": "K"})
    >>> trend = sen_trend(field)
    >>> round(float(trend.slope), 9), trend.slope.attrs["units"], bool(trend.p_value < 1e-9)
    (0.3, 'K decade-1', True)
    """
    require_fraction(min_weight, "min_weight")
    require_field(field, "sen_trend")
    time = time_name(field)
    axis = sound_axis(field, time)
    refuse_gaps(field, time, axis)
    if axis.size < _FEWEST:
        raise ClimateError(
            f"sen_trend: {time!r}{origin(field)} has {axis.size} steps; a trend needs at least {_FEWEST}. Select a longer "
            "period"
        )
    middle = axis.seconds if axis.intervals is None else (axis.intervals[0] + axis.intervals[1]) / 2
    decades = middle / (10 * DAY * _YEAR_DAYS.get(axis.origin.calendar, 365.2425))
    figures = along(_Trend(decades, float(min_weight)), field, time, label="sen-trend", new={"figure": 3})
    coords = coordinates_without(field, time)
    units = str(field.attrs.get("units", "1"))
    name = field.attrs.get("long_name") or field.name or "field"
    attrs = {
        "slope": {"units": f"{units} decade-1", "long_name": f"Sen's slope of {name}"},
        "p_value": {"units": "1", "long_name": "two-sided p-value of the Mann-Kendall test"},
        "trend_steps": {"units": "1", "long_name": "values used"},
    }
    start, stop = axis.span
    kept = {key: field.attrs[key] for key in ("attribution", "license") if key in field.attrs}
    data = {
        key: xr.DataArray(figures[..., i], coords=coords, attrs=said) for i, (key, said) in enumerate(attrs.items())
    }
    return xr.Dataset(data, attrs={**kept, "period": f"{start} until before {stop}"})


@dataclass(frozen=True, eq=False)
class _Trend:
    """Slope, p-value and number of values of (..., nt), shape (..., 3)."""

    times: Float
    min_weight: float

    def __call__(self, series: NDArray[Any]) -> Float:
        flat = series.reshape(-1, series.shape[-1]).astype(np.float64)
        out = np.full((len(flat), 3), np.nan)
        known = ~np.isnan(flat)
        counts = known.sum(axis=1)
        out[:, 2] = counts
        enough = (counts >= _FEWEST) & (counts >= self.min_weight * series.shape[-1] * (1 - ROUNDING))
        whole = enough & (counts == series.shape[-1])
        out[whole, :2] = _trends(flat[whole], self.times)
        for i in np.flatnonzero(enough & ~whole):
            out[i, :2] = _trends(flat[i, known[i]][None], self.times[known[i]])
        return out.reshape(*series.shape[:-1], 3)


def _trends(series: Float, times: Float) -> Float:
    """Return slopes and p-values of complete series, shape (cells, nt) to (cells, 2)."""
    n = len(times)
    low, high = np.triu_indices(n, 1)
    spans = times[high] - times[low]
    out = np.empty((len(series), 2))
    step = max(1, _PAIRS_IN_MEMORY // len(spans))
    for start in range(0, len(series), step):
        part = series[start : start + step]
        differences = part[:, high] - part[:, low]
        signs = np.sign(differences).sum(axis=1)
        out[start : start + step] = np.column_stack(
            [np.median(differences / spans, axis=1), _p_values(signs, np.sort(part, axis=1))]
        )
    return out


def _p_values(signs: Float, ordered: Float) -> Float:
    """Return two-sided p-values of Mann-Kendall statistics; 1 where all values are equal."""
    n = ordered.shape[1]
    variance = np.full(len(ordered), n * (n - 1) * (2 * n + 5), dtype=np.float64)
    tied = np.flatnonzero((np.diff(ordered, axis=1) == 0).any(axis=1))
    for i in tied:
        ties = np.unique(ordered[i], return_counts=True)[1].astype(np.float64)
        variance[i] -= (ties * (ties - 1) * (2 * ties + 5)).sum()
    deviation = np.sqrt(np.maximum(variance, 0.0) / 18)
    score = np.divide(signs - np.sign(signs), deviation, out=np.zeros_like(signs), where=deviation > 0)
    p: Float = 2 * ndtr(-np.abs(score))
    return p
