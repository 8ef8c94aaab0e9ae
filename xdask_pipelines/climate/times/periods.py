"""Selecting the steps of a period, which must be complete.

Belongs here: finding the steps of a field from a first to a last period. Does not belong here: lengths of steps
(time_axis), finding their files (catalog).
"""

from __future__ import annotations

import re
from datetime import timedelta

import cftime
import numpy as np
import xarray as xr

from xdask_pipelines.climate.axes import is_time, origin, require_field
from xdask_pipelines.climate.times.time_axis import SAME_SECONDS, TimeAxis, periods_text
from xdask_pipelines.errors import ClimateError

#: Attribute of a field whose data are knowingly incomplete: gaps in its time axis are then allowed.
EXCERPT = "excerpt"
_PERIOD = re.compile(r"(\d{1,5})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
_DAY = timedelta(days=1)


def select_period(field: xr.DataArray, first: str | int | None = None, last: str | int | None = None) -> xr.DataArray:
    """Select the steps from a first to a last period, both included; raise if they do not cover it completely.

    A step belongs to the period if all of it lies in the period, according to its bounds if the field carries them
    (``with_bounds``), else to the spacing of the steps. The time of a step alone is not used: some models set it to the
    end of the month.

    Parameters
    ----------
    field
        A field with a time dimension of any name, or with a scalar time.
    first, last
        Years, months or days such as ``1995``, ``"1995-03"``, ``"1995-03-25"``; None stands for the first or last
        period of the data.

    Returns
    -------
    The field on the selected steps. With a scalar time, the field itself.

    Raises
    ------
    ClimateError
        If the data do not cover the period, or a step extends beyond it. Gaps are allowed in a field with the attribute
        ``excerpt``, whose data are knowingly incomplete.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> months = xr.date_range("2010-01", periods=36, freq="MS", use_cftime=True)
    >>> field = xr.DataArray(np.arange(36.0), coords={"time": months}, name="tas")
    >>> select_period(field, 2011, "2011-06").values.tolist()
    [12.0, 13.0, 14.0, 15.0, 16.0, 17.0]
    """
    require_field(field, "select_period")
    if first is None and last is None:
        return field
    carried = {f"{name}_{side}" for name in field.coords for side in ("lower", "upper")}
    times = [c for n, c in field.coords.items() if is_time(c) and c.dims in ((), (n,)) and n not in carried]
    if len(times) != 1:
        times_text = f"has {len(times)} time coordinates" if times else "has no time coordinate"
        raise ClimateError(
            f"{_named(field)} {times_text}, so no period can be selected. Leave the first "
            "and the last year empty, or choose data with a time dimension"
        )
    (time,) = times
    axis = TimeAxis.of(time)
    begin, end = _limits(axis, first, last)
    period = f"{first if first is not None else 'the beginning'} to {last if last is not None else 'the end'}"
    lower, upper = axis.intervals or (axis.seconds, axis.seconds)
    inside = (lower >= begin - SAME_SECONDS) & (upper <= end + SAME_SECONDS)
    excerpt = bool(field.attrs.get(EXCERPT))
    reaching = (lower < end - SAME_SECONDS) & (upper > begin + SAME_SECONDS) & ~inside
    name = _named(field)
    if reaching.any():
        i = int(np.flatnonzero(reaching)[0])
        raise ClimateError(
            f"{name} cannot be limited to {period}: its step {i} lasts from {axis.date(lower[i])} until before "
            f"{axis.date(upper[i])}. Choose a period that begins and ends with whole steps"
        )
    missing = _missing(axis, lower[inside], upper[inside], begin, end)
    if not inside.any() or (missing and not excerpt):
        start, stop = axis.span
        what = periods_text(missing) if missing else period
        whole = f", without {axis.missing()}" if axis.holes else ""
        raise ClimateError(
            f"{name} does not cover {period}: {what} is missing. It covers {start} until before {stop}{whole}. Choose a "
            "period inside that",
            missing=tuple(f"{a} until before {b}" for a, b in missing),
        )
    return field.isel({time.name: inside}) if time.dims else field


def _named(field: xr.DataArray) -> str:
    return f"{field.name or 'the field'}{origin(field)}"


def _limits(axis: TimeAxis, first: str | int | None, last: str | int | None) -> tuple[float, float]:
    """Return start and end of the period in seconds of the axis."""
    start, stop = axis.span
    begin = start if first is None else _bounds_of(axis, first)[0]
    end = stop if last is None else _bounds_of(axis, last)[1]
    if not begin < end and first is not None and last is not None:
        raise ClimateError(f"the period from {first} to {last} is empty; pass the earlier one first")
    if not begin < end:
        raise ClimateError(
            f"no data {'from ' + str(first) + ' on' if first is not None else 'until ' + str(last)}: the field covers "
            f"{start} until before {stop}. Choose a period inside that"
        )
    return ((begin - axis.origin).total_seconds(), (end - axis.origin).total_seconds())


def _bounds_of(axis: TimeAxis, period: str | int) -> tuple[cftime.datetime, cftime.datetime]:
    """Return the start of a period and of the next one, in the calendar of an axis."""
    match = _PERIOD.fullmatch(str(period))
    if match is None:
        raise ClimateError(f"{period!r} is not a year, month or day; write one such as 1995, 1995-03 or 1995-03-25")
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        begin = axis.origin.replace(
            year=year, month=month or 1, day=day or 1, hour=0, minute=0, second=0, microsecond=0
        )
    except (ValueError, TypeError) as error:
        raise ClimateError(f"{period} does not exist in the calendar {axis.origin.calendar!r}: {error}") from error
    if day is not None:
        return begin, begin + _DAY
    if month is not None:
        year, index = divmod(begin.year * 12 + begin.month, 12)
        return begin, begin.replace(year=year, month=index + 1)
    return begin, begin.replace(year=begin.year + 1)


def _missing(
    axis: TimeAxis, lower: np.ndarray, upper: np.ndarray, begin: float, end: float
) -> list[tuple[cftime.datetime, cftime.datetime]]:
    """Return the intervals from begin to end that no selected step covers."""
    if axis.intervals is None:  # the lengths of steps are unknown, so they cover nothing
        return [(axis.date(begin), axis.date(end))]
    tolerance = max(SAME_SECONDS, 0.05 * float(np.median(upper - lower))) if lower.size else SAME_SECONDS
    ends, starts = np.append(begin, upper), np.append(lower, end)
    gaps = np.flatnonzero(starts - ends > min(tolerance, 4320.0))
    return [(axis.date(ends[i]), axis.date(starts[i])) for i in gaps]
