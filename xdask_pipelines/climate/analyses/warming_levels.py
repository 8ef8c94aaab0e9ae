"""Warming levels: when the mean over 20 years first exceeds a level.

Belongs here: crossings in series. Does not belong here: global means (``means``), anomalies (``anomalies``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.analyses.period_means import period_means
from xdask_pipelines.climate.axes import coordinates_without, origin, require_field, time_name
from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.climate.kernels import along
from xdask_pipelines.climate.times.time_axis import TimeAxis
from xdask_pipelines.errors import ClimateError


def warming_level_crossing(
    series: xr.DataArray, levels: Sequence[float] = (1.5, 2.0, 3.0, 4.0), window: int = 20
) -> xr.Dataset:
    """Find the first window of years whose mean reaches each warming level.

    Parameters
    ----------
    series
        Warming relative to a baseline (``anomaly(..., "pre-industrial")``) with a time dimension; steps shorter than a
        year are averaged by years first. Usually a global mean; other dimensions are kept.
    levels
        Warming levels, in the series' units.
    window
        Years of a window: 20 in IPCC AR6 (WGI, cross-chapter box 2.3).

    Returns
    -------
    Dataset over ``warming_level``: ``first_year`` and ``last_year`` of the window, and ``central_year``, which is
    ``first_year + window / 2`` (10 of 20 years come before it). NaN where the level is not reached, and where the first
    window has reached it already, because the crossing is then before the data.

    Raises
    ------
    ClimateError
        If the series has fewer years than the window, years are missing, or values are temperatures and not differences.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> years = xr.date_range("2001", periods=100, freq="YS", use_cftime=True)
    >>> series = xr.DataArray(0.03 * np.arange(100), coords={"time": years}, attrs={"units": "K"})
    >>> found = warming_level_crossing(series, [2.0, 4.0])
    >>> found.first_year.values.tolist(), found.central_year.values.tolist()
    ([2059.0, nan], [2069.0, nan])
    """
    require_field(series, "warming_level_crossing")
    if window < 1 or not len(levels) or not np.isfinite(levels).all():
        raise ClimateError("warming_level_crossing needs at least one finite level and a window of at least 1 year")
    if series.attrs.get("standard_name") == "air_temperature" and "units_metadata" not in series.attrs:
        raise ClimateError(
            f"warming_level_crossing takes warming since a baseline, but {series.name or 'the series'}{origin(series)} "
            "has temperatures. Subtract a baseline first: climate.analyses.anomaly(series, 'pre-industrial', 'year')"
        )
    time = time_name(series)
    annual = period_means(series, "year")
    axis = TimeAxis.of(annual[time])
    years = np.array([axis.date(second).year for second in axis.seconds.tolist()])
    if len(years) < window or (np.diff(years) != 1).any():
        raise ClimateError(
            f"warming_level_crossing: {time!r}{origin(series)} has {len(years)} complete years from {years[0]} to "
            f"{years[-1]}; windows of {window} consecutive years are needed. Use a longer series, or a shorter window"
        )
    kernel = _Crossings(years.astype(np.float64), tuple(map(float, levels)), int(window))
    first = along(kernel, annual, time, label="warming-level", new={"warming_level": len(levels)})
    units = {"units": str(series.attrs.get("units", "1")), "long_name": "warming level"}
    coords = {**coordinates_without(annual, time), "warming_level": ("warming_level", list(map(float, levels)), units)}
    begin = xr.DataArray(first, coords=coords)
    said = {
        "first_year": "first year of the window",
        "last_year": "last year of the window",
        "central_year": "central year",
    }
    offsets = {"first_year": 0.0, "last_year": window - 1.0, "central_year": float(window // 2)}
    data = {name: (begin + offsets[name]).assign_attrs(units="1", long_name=text) for name, text in said.items()}
    kept = {key: series.attrs[key] for key in ("baseline", "attribution", "license") if key in series.attrs}
    return xr.Dataset(data, attrs={**kept, "window_years": window})


@dataclass(frozen=True, eq=False)
class _Crossings:
    """First years of the windows that reach each level: (..., nt) to (..., levels)."""

    years: Float
    levels: tuple[float, ...]
    window: int

    def __call__(self, series: NDArray[Any]) -> Float:
        means = np.lib.stride_tricks.sliding_window_view(series.astype(np.float64), self.window, axis=-1).mean(axis=-1)
        out = np.full((*series.shape[:-1], len(self.levels)), np.nan)
        for i, level in enumerate(self.levels):
            reached = means >= level - 1e-12 * max(1.0, abs(level))
            first = reached.argmax(axis=-1)  # 0 if no window reaches it, or the first one does
            out[..., i] = np.where(first > 0, self.years[first], np.nan)
        unknown = np.isnan(means).any(axis=-1)
        out[unknown] = np.nan
        return out
