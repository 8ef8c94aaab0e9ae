"""Choosing the steps of a period, whole or not at all.

Belongs here: from a first and a last period to the steps of a field. Does not belong here: how long steps last
(time_axis), which files hold them (catalog).
"""

from __future__ import annotations

import re
from datetime import timedelta

import cftime
import numpy as np
import xarray as xr

from xdask_pipelines.climate.axes import is_time, origin, require_field
from xdask_pipelines.climate.time_axis import SAME_SECONDS, TimeAxis, periods_text
from xdask_pipelines.errors import ClimateError

#: Attribute of a field whose data are knowingly incomplete: holes in its time axis are then no error.
EXCERPT = "excerpt"
_PERIOD = re.compile(r"(\d{1,5})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
_DAY = timedelta(days=1)


def select_period(field: xr.DataArray, first: str | int | None = None, last: str | int | None = None) -> xr.DataArray:
    """Select the steps from a first to a last period, both included, if they cover all of it.

    A step belongs to the period if it lies in it from its beginning to its end: by its bounds where bounds travel with the
    field (``with_bounds``), else by the spacing of the steps. Stamps alone never decide: some models stamp a month at its
    end.

    Parameters
    ----------
    field
        With a time dimension of any name, or a scalar time.
    first, last
        Years, months or days such as ``1995``, ``"1995-03"``, ``"1995-03-25"``; None: as far as the data go.

    Returns
    -------
    The field on the selected steps. With a scalar time, the field itself.

    Raises
    ------
    ClimateError
        The data do not cover the period, cover it in part or with a hole, or a step reaches beyond it; the message lists
        what is missing and what the data cover. Holes are allowed in a field whose attribute ``excerpt`` says that its
        data are knowingly incomplete.

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
        found = f"has {len(times)} time coordinates" if times else "has no time coordinate"
        raise ClimateError(
            f"{_named(field)} {found}, so that no period can be selected. Leave the first "
            "and the last year empty, or choose data with time"
        )
    (time,) = times
    axis = TimeAxis.of(time)
    begin, end = _limits(axis, first, last)
    asked = f"{first if first is not None else 'the beginning'} to {last if last is not None else 'the end'}"
    lower, upper = axis.intervals or (axis.seconds, axis.seconds)
    inside = (lower >= begin - SAME_SECONDS) & (upper <= end + SAME_SECONDS)
    excerpt = bool(field.attrs.get(EXCERPT))
    reaching = (lower < end - SAME_SECONDS) & (upper > begin + SAME_SECONDS) & ~inside
    name = _named(field)
    if reaching.any():
        i = int(np.flatnonzero(reaching)[0])
        raise ClimateError(
            f"{name} cannot be cut to {asked}: its step {i} lasts from {axis.date(lower[i])} until before "
            f"{axis.date(upper[i])}. Choose a period that begins and ends with whole steps"
        )
    missing = _missing(axis, lower[inside], upper[inside], begin, end)
    if not inside.any() or (missing and not excerpt):
        start, stop = axis.span
        what = periods_text(missing) if missing else asked
        whole = f", without {axis.missing()}" if axis.holes else ""
        raise ClimateError(
            f"{name} does not cover {asked}: {what} is missing. It covers {start} until before {stop}{whole}. Choose a "
            "period inside that",
            missing=tuple(f"{a} until before {b}" for a, b in missing),
        )
    return field.isel({time.name: inside}) if time.dims else field


def _named(field: xr.DataArray) -> str:
    return f"{field.name or 'the field'}{origin(field)}"


def _limits(axis: TimeAxis, first: str | int | None, last: str | int | None) -> tuple[float, float]:
    """Beginning and end of the period in seconds of the axis."""
    start, stop = axis.span
    begin = start if first is None else _bounds_of(axis, first)[0]
    end = stop if last is None else _bounds_of(axis, last)[1]
    if not begin < end and first is not None and last is not None:
        raise ClimateError(f"the period from {first} to {last} is empty; give the earlier one first")
    if not begin < end:
        raise ClimateError(
            f"there is no data {'from ' + str(first) + ' on' if first is not None else 'until ' + str(last)}: it covers "
            f"{start} until before {stop}. Choose a period inside that"
        )
    return ((begin - axis.origin).total_seconds(), (end - axis.origin).total_seconds())


def _bounds_of(axis: TimeAxis, period: str | int) -> tuple[cftime.datetime, cftime.datetime]:
    """Beginning of a period and of the one after it, in the calendar of an axis."""
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
    """Stretches from begin to end that no selected step covers."""
    if axis.intervals is None:  # how long steps last is not known, so that they cover nothing
        return [(axis.date(begin), axis.date(end))]
    tolerance = max(SAME_SECONDS, 0.05 * float(np.median(upper - lower))) if lower.size else SAME_SECONDS
    ends, starts = np.append(begin, upper), np.append(lower, end)
    found = np.flatnonzero(starts - ends > min(tolerance, 4320.0))
    return [(axis.date(ends[i]), axis.date(starts[i])) for i in found]
