"""Time axes: start and end of each step, missing steps between them, and text for both.

Belongs here: arithmetic on times and bounds. Does not belong here: invalid axes (time_faults), reading axes (access),
selecting or averaging fields (periods, means).

A step lasts from its lower to its upper bound. Without bounds it is the year, the month or the part of a day that
contains its time (its *stamp*), according to the spacing of the steps. Steps at uneven intervals have no known length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal

import cftime
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xdask_pipelines.climate.axes import carried_bounds, origin
from xdask_pipelines.errors import ClimateError

Float = NDArray[np.float64]
Kind = Literal["moment", "even", "month", "year", "uneven"]

DAY = 86_400.0
_MONTH_DAYS, _YEAR_DAYS = (28, 31), (355, 370)
#: Times that are closer than this are equal.
SAME_SECONDS = 1.0
#: Fraction of a step by which stamps may be off: hours in float32 days since 1850 are off by six minutes.
_JITTER = 0.1


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """The steps of one time coordinate.

    Attributes
    ----------
    origin
        First stamp; its calendar is the calendar of the axis.
    seconds
        Stamps, seconds after the origin, shape (n,) with n > 0.
    bounds
        Lower and upper ends in the same seconds, each of shape (n,); None without bounds.
    fixed_step
        Length of a step in seconds if it is known from elsewhere; None derives it from the stamps.
    """

    origin: cftime.datetime
    seconds: Float
    bounds: tuple[Float, Float] | None = None
    fixed_step: float | None = None

    @classmethod
    def from_numbers(
        cls, values: ArrayLike, units: str, calendar: str, bounds: tuple[ArrayLike, ArrayLike] | None = None
    ) -> TimeAxis:
        """Create an axis from the numbers in a file.

        Raises
        ------
        ValueError
            If cftime cannot decode the units, the calendar or a value.
        """
        numbers = np.asarray(values, np.float64)
        first, second, _ = cftime.num2date(
            [numbers[0], numbers[0] + 1, numbers[-1]], units, calendar, only_use_cftime_datetimes=True
        )
        unit = (second - first).total_seconds()
        ends = None
        if bounds is not None:
            lower, upper = ((np.asarray(b, np.float64) - numbers[0]) * unit for b in bounds)
            # Instantaneous values may have bounds without duration, which add nothing to the stamps.
            ends = None if (lower == upper).all() else (lower, upper)
        return cls(first, (numbers - numbers[0]) * unit, ends)

    @classmethod
    def of(cls, coordinate: xr.DataArray) -> TimeAxis:
        """Create the axis of a coordinate, with its carried bounds (`axes.with_bounds`).

        Raises
        ------
        ClimateError
            If the coordinate has neither dates nor numbers of units since a date.
        """
        values = np.atleast_1d(coordinate.values)
        if not values.size:
            raise ClimateError(f"{coordinate.name!r}{origin(coordinate)} has no steps; select at least one")
        if (empty := np.flatnonzero(_is_nothing(values))).size:
            raise ClimateError(
                f"{coordinate.name!r}{origin(coordinate)} has no value at step {empty[0]}; drop that step with isel"
            )
        if values.dtype.kind in "iuf":
            return cls._of_numbers(coordinate, values)
        if values.dtype.kind not in "MO":
            raise ClimateError(f"{coordinate.name!r}{origin(coordinate)} has the dtype {values.dtype}, not dates")
        first = _as_cftime(values[0])
        carried = carried_bounds(coordinate)
        bounds = None
        if carried is not None:
            lower, upper = (_seconds(np.atleast_1d(b), values[0]) for b in carried)
            bounds = None if (lower == upper).all() else (lower, upper)
        return cls(first, _seconds(values, values[0]), bounds)

    @classmethod
    def _of_numbers(cls, coordinate: xr.DataArray, values: NDArray[Any]) -> TimeAxis:
        units, calendar = str(coordinate.attrs.get("units", "")), str(coordinate.attrs.get("calendar", "standard"))
        try:
            return cls.from_numbers(values, units, calendar, carried_bounds(coordinate))
        except (ValueError, TypeError) as error:
            raise ClimateError(
                f"{coordinate.name!r}{origin(coordinate)} has numbers in {units!r}, not dates: decode it with "
                f"xr.decode_cf(dataset) ({error})"
            ) from error

    @property
    def size(self) -> int:
        """Number of steps."""
        return self.seconds.size

    def date(self, seconds: float) -> cftime.datetime:
        """Return the date of some seconds after the origin, rounded to a second."""
        return self.origin + timedelta(seconds=float(np.rint(seconds)))

    @cached_property
    def gaps_seconds(self) -> Float:
        """Seconds from each stamp to the next, shape (n - 1,)."""
        return np.diff(self.seconds)

    def with_step(self, seconds: float | None) -> TimeAxis:
        """Return the axis with steps of a known length; None leaves it unchanged."""
        return self if seconds is None else replace(self, fixed_step=seconds)

    @cached_property
    def _spacing(self) -> tuple[Kind, float]:
        """Return the spacing of the stamps, and the step in seconds."""
        if self.fixed_step is not None:
            return "even", self.fixed_step
        gaps = self.gaps_seconds
        if not gaps.size:
            return "moment", 0.0
        if not gaps.min() > 0:
            return "uneven", 0.0
        for step in (float(np.median(gaps)), float(gaps.min())):
            kind = _kind(step)
            if kind != "even":
                if kind != "uneven":  # seasons, decades: the position of the stamp within the step is unknown
                    return kind, step
                continue
            times = np.rint(gaps / step)
            tolerance = _JITTER * step if step <= DAY else 600.0
            if (times >= 1).all() and (np.abs(gaps - times * step) <= tolerance * times).all():
                return "even", _rounded(step)
        return "uneven", 0.0

    @property
    def kind(self) -> Kind:
        """Return the spacing of the stamps: evenly, by months, by years, unevenly; ``moment`` for a single one."""
        return self._spacing[0]

    @cached_property
    def step(self) -> tuple[Kind, float]:
        """Return the kind of a step, and its length in seconds (0 if unknown); a single step is as long as its bounds."""
        if self.kind != "moment" or self.bounds is None:
            return self._spacing
        length = float(self.bounds[1][0] - self.bounds[0][0])
        return _kind(length), length

    def count(self, begin: float, end: float) -> int:
        """Return how many steps of this axis fit between two times, in seconds after the origin."""
        kind, length = self.step
        if kind in ("month", "year"):
            first, last = self.date(begin), self.date(end)
            months = int(last.year - first.year) * 12 + int(last.month - first.month)
            return months if kind == "month" else round(months / 12)
        return round((end - begin) / length) if length else 0

    @cached_property
    def intervals(self) -> tuple[Float, Float] | None:
        """Return start and end of the steps, in seconds, each of shape (n,); None if unknown."""
        if self.bounds is not None:
            return self.bounds
        kind, step = self._spacing
        if kind == "even" and step > 1.01 * DAY:
            return None  # pentads, weeks: the position of the stamp within the step is unknown
        if kind == "even":
            begin = self._even_starts(step)
            return begin, begin + step
        if kind in ("month", "year"):
            ends = np.array([_calendar_unit(self.date(s), kind) for s in self.seconds.tolist()], object)
            lower, upper = (np.array([(t - self.origin).total_seconds() for t in side]) for side in ends.T)
            return lower, upper
        return None

    def _even_starts(self, step: float) -> Float:
        whole = min(step, DAY)
        if DAY % whole > 1e-6 or step % whole > 1e-6:
            return self.seconds
        midnight = self.origin.hour * 3600 + self.origin.minute * 60 + self.origin.second
        midnight += self.origin.microsecond / 1e6
        begin: Float = np.floor((self.seconds + midnight) / whole + _JITTER) * whole - midnight
        return begin

    @property
    def span(self) -> tuple[cftime.datetime, cftime.datetime]:
        """Return the start of the first step and the end of the last; steps of unknown length count as one second."""
        lower, upper = self.intervals or (self.seconds, self.seconds + 1.0)
        return self.date(lower[0]), self.date(upper[-1])

    @cached_property
    def holes(self) -> list[tuple[float, float]]:
        """Return the gaps between steps, in seconds; empty if lengths are unknown."""
        if self.intervals is None:
            return []
        lower, upper = self.intervals
        tolerance = hole_tolerance(upper - lower)
        gaps = np.flatnonzero(lower[1:] - upper[:-1] > tolerance)
        return [(float(upper[i]), float(lower[i + 1])) for i in gaps]

    def missing(self, most: int = 5) -> str:
        """Return at most ``most`` gaps as text for a message."""
        return periods_text([(self.date(a), self.date(b)) for a, b in self.holes], most)


def hole_tolerance(lengths: Float) -> float:
    """Return the tolerance for gaps between steps of these lengths, in seconds."""
    return max(SAME_SECONDS, 0.05 * min(float(np.median(lengths)), DAY))


def periods_text(periods: Sequence[tuple[Any, Any]], most: int = 5) -> str:
    """Return half-open periods as text: ``2001-02-01 00:00:00 until before 2001-03-01 00:00:00``, ...."""
    shown = ", ".join(f"{start} until before {end}" for start, end in periods[:most])
    return shown + (f" and {len(periods) - most} more" if len(periods) > most else "")


def _rounded(step: float) -> float:
    """Round a step to whole hours or whole seconds, to remove the rounding errors of float32 stamps."""
    hours = round(step / 3600)
    if hours and abs(step - hours * 3600) <= 0.05 * 3600:
        return hours * 3600.0
    return float(np.rint(step)) if step > 10 * SAME_SECONDS else step


def _is_nothing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "O":
        return np.array([not isinstance(value, cftime.datetime) for value in values])
    return np.asarray(np.isnat(values) if values.dtype.kind == "M" else np.zeros(values.shape, bool))


def _kind(seconds: float) -> Kind:
    days = seconds / DAY
    if _YEAR_DAYS[0] <= days <= _YEAR_DAYS[1]:
        return "year"
    if _MONTH_DAYS[0] <= days <= _MONTH_DAYS[1]:
        return "month"
    return "even" if days < _MONTH_DAYS[0] else "uneven"


def _calendar_unit(date: cftime.datetime, kind: Kind) -> tuple[cftime.datetime, cftime.datetime]:
    """Return start and end of the month or year that contains a date."""
    begin = date.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if kind == "year":
        begin = begin.replace(month=1)
        return begin, begin.replace(year=begin.year + 1)
    year, month = divmod(begin.year * 12 + begin.month, 12)
    return begin, begin.replace(year=year, month=month + 1)


def _as_cftime(value: Any) -> cftime.datetime:
    if isinstance(value, cftime.datetime):
        return value
    stamp = value.astype("M8[us]").item()
    return cftime.datetime(
        *stamp.timetuple()[:6], stamp.microsecond, calendar="proleptic_gregorian", has_year_zero=True
    )


def _seconds(values: NDArray[Any], origin: Any) -> Float:
    """Return seconds after an origin; NaN for missing times."""
    if values.dtype == object:
        return np.array([_difference(value, origin) for value in values], np.float64)
    seconds: Float = np.where(np.isnat(values), np.nan, (values - origin) / np.timedelta64(1, "s"))
    return seconds


def _difference(value: Any, origin: Any) -> float:
    try:
        return float((value - origin).total_seconds())
    except (TypeError, AttributeError):
        return float("nan")
