"""Times as numpy's datetime64, where the calendar allows.

Belongs here: the conversion of coordinates. Does not belong here: decoding (decoding), means over time (climate).

Everything that is opened has cftime objects, which all calendars have: an analysis then works in the same way on every
model, and two calendars that look alike are never compared by accident. In a notebook, a standard calendar is converted at
the last step of opening. There, datetime64 is what xarray's own openers return, and what Matplotlib and pandas plot without
nc-time-axis. The functions of `climate` take both. A result is not converted instead, because coordinates of a lazy object
do not pass through its computation: `.compute()` and `.plot()` would differ from `project.compute`.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import cftime
import numpy as np
import xarray as xr

T = TypeVar("T", bound=xr.DataArray | xr.Dataset)
#: Calendars that numpy has, with their first day in it: the standard calendar is Julian before.
_FIRST = {
    "proleptic_gregorian": (1, 1, 1),
    "standard": (1582, 10, 15),
    "gregorian": (1582, 10, 15),
}
_LAST_YEAR = 9999


def with_datetimes(opened: T) -> T:
    """Convert the time coordinates of an object that is opened, if all of them have dates that numpy has.

    Parameters
    ----------
    opened
        DataArray or Dataset whose coordinates are in memory or lazy.

    Returns
    -------
    The same object, with coordinates of dtype ``datetime64[us]`` instead of cftime objects in the standard calendar, bounds
    included. Coordinates of other calendars (``noleap``, ``360_day``, ...), and all before 1582-10-15 in the standard
    calendar, stay as they are, together with their bounds. Lazy coordinates stay as they are.
    """
    dates = {str(name): c for name, c in opened.coords.items() if c.chunks is None and _has_dates(c)}
    if not dates or not all(_fits(coordinate.values) for coordinate in dates.values()):
        return opened
    converted = {}
    for name, coordinate in dates.items():
        index: Any = xr.CFTimeIndex
        flat = index(coordinate.values.ravel()).to_datetimeindex(time_unit="us")
        values = np.asarray(flat).reshape(coordinate.shape)
        converted[name] = xr.Variable(coordinate.dims, values, coordinate.attrs, encoding=coordinate.encoding)
    return cast(T, opened.assign_coords(converted))


def _has_dates(coordinate: xr.DataArray) -> bool:
    return coordinate.dtype == object and coordinate.size > 0 and isinstance(coordinate.values.flat[0], cftime.datetime)


def _fits(dates: np.ndarray) -> bool:
    """Return whether numpy has all of these dates; they may be in any order, as bounds are."""
    first = _FIRST.get(dates.flat[0].calendar)
    if first is None:
        return False
    days = [(date.year, date.month, date.day) for date in dates.flat]
    return min(days) >= first and max(days)[0] <= _LAST_YEAR
