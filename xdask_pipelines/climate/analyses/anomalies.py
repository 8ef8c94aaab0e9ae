"""Anomalies: differences from the climatology of a baseline.

Belongs here: subtracting a baseline from a series. Does not belong here: names of baselines (``times.baselines``),
differences between two fields (``difference``).
"""

from __future__ import annotations

import xarray as xr

from xdask_pipelines.climate.analyses.period_means import climatology
from xdask_pipelines.climate.axes import origin, require_field, time_name
from xdask_pipelines.climate.means import time_weighted_mean
from xdask_pipelines.climate.times.baselines import baseline_years
from xdask_pipelines.climate.times.calendar_groups import Every, calendar_groups
from xdask_pipelines.climate.times.periods import select_period
from xdask_pipelines.climate.times.time_axis import TimeAxis
from xdask_pipelines.errors import ClimateError


def anomaly(
    field: xr.DataArray, baseline: str, every: Every = "month", of: xr.DataArray | None = None, min_weight: float = 1.0
) -> xr.DataArray:
    """Subtract the climatology of a baseline, month by month, season by season, or as one mean.

    Parameters
    ----------
    field
        A field with a time dimension.
    baseline
        Name of a baseline (``times.baselines``), or two years such as ``"1986-2005"``.
    every
        ``"month"`` removes the annual cycle by months, ``"season"`` by seasons; ``"year"`` subtracts the mean over the
        whole baseline.
    of
        The field whose baseline is subtracted, for example the historical run of a scenario; None takes ``field`` itself.
    min_weight
        Smallest fraction of the baseline that must have values in a cell; with less, the anomaly is NaN.

    Returns
    -------
    The anomalies in float64, with the field's coordinates; lazy if the field is lazy.

    Raises
    ------
    ClimateError
        If the baseline is unknown or not covered by the data, or steps are longer than ``every``.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> months = xr.date_range("2001-01", periods=36, freq="MS", calendar="noleap", use_cftime=True)
    >>> field = xr.DataArray(np.arange(36.0), coords={"time": months}, attrs={"units": "K"})
    >>> anomaly(field, "2001-2002").values.tolist()[-1]
    18.0
    """
    first, last = baseline_years(baseline)
    require_field(field, "anomaly")
    whole = field if of is None else of
    if of is not None and of.attrs.get("units") != field.attrs.get("units"):
        raise ClimateError(
            f"anomaly: the field is in {field.attrs.get('units')!r}, its baseline{origin(of)} in {of.attrs.get('units')!r}; "
            "convert one of them"
        )
    try:
        base = select_period(whole, first, last)
    except ClimateError as error:
        raise ClimateError(f"baseline {baseline!r} ({first} to {last}): {error}") from error
    time = time_name(field)
    if every == "year":
        normal = time_weighted_mean(base, min_weight)
    else:
        groups = calendar_groups(TimeAxis.of(field[time]), every, f"anomaly: {time!r}{origin(field)}")
        position = groups.positions[groups.number] - (1 if every == "month" else 0)
        normal = climatology(base, every, min_weight).isel({every: xr.DataArray(position, dims=time)})
        normal = normal.drop_vars(every)
    shared = [name for name in normal.coords if name not in normal.dims or name == time]
    result = (field - normal.drop_vars(shared)).transpose(*field.dims)
    attrs = {**field.attrs, "baseline": f"{first} to {last}", "anomaly_of": every}
    if attrs.get("units") == "K":
        attrs["units_metadata"] = "temperature: difference"  # CF 1.11
    return result.assign_attrs(attrs).rename(field.name)
