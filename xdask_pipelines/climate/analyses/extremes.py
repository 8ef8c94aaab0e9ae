"""Indices of extremes, by the library xclim: frost days and TX90p (the extra ``[indices]``).

Belongs here: checks before xclim, and its calls. Does not belong here: the definitions of indices, which are xclim's; any
other index of it works on placed arrays, too.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any

import xarray as xr

from xdask_pipelines.climate.axes import origin, require_field, time_name
from xdask_pipelines.climate.times.baselines import baseline_years
from xdask_pipelines.climate.times.periods import select_period
from xdask_pipelines.climate.times.step_checks import refuse_gaps, sound_axis
from xdask_pipelines.climate.times.time_axis import DAY
from xdask_pipelines.errors import ClimateError

_PERCENT, _WINDOW_DAYS = 90, 5
_KEPT = ("attribution", "license", "excerpt")


def has_indices() -> bool:
    """Return whether xclim is installed."""
    return find_spec("xclim") is not None


def frost_days(tasmin: xr.DataArray) -> xr.DataArray:
    """Count the days of each year whose minimum temperature is below 0 °C (FD of ETCCDI).

    Parameters
    ----------
    tasmin
        Daily minimum near-surface air temperature, in any unit of temperature, with a time dimension.

    Returns
    -------
    Days by year, NaN in years that are not complete; lazy if the field is lazy.

    Raises
    ------
    ClimateError
        If xclim is not installed, the field is not daily or has gaps, or its units are not those of a temperature.
    """
    field = _daily(tasmin, "frost_days")
    return _called("frost_days", lambda: _xclim().atmos.frost_days(field, freq="YS"), tasmin)


def warm_days(tasmax: xr.DataArray, baseline: str) -> xr.DataArray:
    """Count the days of each year above the 90th percentile of their day of the year in a baseline (TX90p of ETCCDI).

    Percentiles are of 5-day windows; days of the baseline itself are not bootstrapped (Zhang et al. 2005,
    doi:10.1175/JCLI3366.1), so that a jump at its ends is possible.

    Parameters
    ----------
    tasmax
        Daily maximum near-surface air temperature, in any unit of temperature, with a time dimension.
    baseline
        Name of a baseline (``times.baselines``), or two years such as ``"1961-1990"``.

    Returns
    -------
    Days by year, NaN in years that are not complete; lazy if the field is lazy.

    Raises
    ------
    ClimateError
        As ``frost_days``; also if the baseline is unknown or not covered by the data.
    """
    first, last = baseline_years(baseline)
    field = _daily(tasmax, "warm_days")
    try:
        base = select_period(field, first, last)
    except ClimateError as error:
        raise ClimateError(f"baseline {baseline!r} ({first} to {last}): {error}") from error

    def index() -> Any:
        library = _xclim()
        from xclim.core.calendar import percentile_doy

        limits = percentile_doy(_whole(base), window=_WINDOW_DAYS, per=_PERCENT).sel(percentiles=_PERCENT, drop=True)
        return library.atmos.tx90p(_whole(field), limits, freq="YS")

    return _called("warm_days", index, tasmax).assign_attrs(baseline=f"{first} to {last}")


def _xclim() -> ModuleType:
    try:
        import xclim
    except ImportError as error:
        raise ClimateError(
            'indices need the library xclim, which is not installed. Install it: pip install "xdask_pipelines[indices]"'
        ) from error
    library: ModuleType = xclim
    return library


def _daily(field: xr.DataArray, function: str) -> xr.DataArray:
    """Return a field without bounds of its steps, which must be whole days without gaps."""
    require_field(field, function)
    time = time_name(field)
    axis = sound_axis(field, time)
    refuse_gaps(field, time, axis)
    kind, step = axis.step
    if kind != "even" or abs(step - DAY) > 1.0:
        raise ClimateError(
            f"{function} takes daily values, but the steps of {time!r}{origin(field)} last "
            f"{f'{step / 3600:g} h' if kind == 'even' else f'a {kind}'}. In CMIP6, use the table day"
        )
    return field.drop_vars([name for name in (f"{time}_lower", f"{time}_upper") if name in field.coords]).rename(
        {time: "time"} if time != "time" else {}
    )


def _whole(field: xr.DataArray) -> xr.DataArray:
    return field.chunk(time=-1) if field.chunks else field


def _called(function: str, index: Any, field: xr.DataArray) -> xr.DataArray:
    """Return the result of xclim; its refusals of units and metadata become errors of this package."""
    try:
        result: xr.DataArray = index()
    except ClimateError:
        raise
    except Exception as error:
        raise ClimateError(
            f"{function}: xclim refuses {field.name or 'the field'}{origin(field)} ({type(error).__name__}: {error}). Check "
            "its units and standard_name"
        ) from error
    return result.assign_attrs({key: field.attrs[key] for key in _KEPT if key in field.attrs})
