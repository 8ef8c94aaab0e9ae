"""Steps of a time axis by calendar month, season or year.

Belongs here: which steps make up a month, a season or a year, and which of these are complete. Does not belong here:
averaging them (``analyses.period_means``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cftime
import numpy as np
from numpy.typing import NDArray

from xdask_pipelines.climate.times.time_axis import TimeAxis, hole_tolerance
from xdask_pipelines.errors import ClimateError

Every = Literal["month", "season", "year"]
SEASONS = ("DJF", "MAM", "JJA", "SON")


@dataclass(frozen=True, eq=False)
class CalendarGroups:
    """Consecutive months, seasons or years, and the steps of each.

    Attributes
    ----------
    every
        ``"month"``, ``"season"`` (DJF, MAM, JJA, SON; December belongs to the season of the next year) or ``"year"``.
    number
        Group of each step, shape (n,), rising from 0.
    starts, ends
        Dates at which each group begins and ends.
    complete
        True for groups that the steps cover completely.
    positions
        Position of each group in the year: months from 1, seasons from 0; years as such.
    """

    every: Every
    number: NDArray[np.intp]
    starts: tuple[cftime.datetime, ...]
    ends: tuple[cftime.datetime, ...]
    complete: NDArray[np.bool_]
    positions: NDArray[np.intp]

    def name(self, group: int) -> str:
        """Return a group as text: ``2011-02``, ``DJF 2011``, ``2011``."""
        end = self.ends[group]
        if self.every == "season":  # named by the year of its last month
            year, month = divmod(end.year * 12 + end.month - 2, 12)
            return f"{SEASONS[(month + 1) // 3 % 4]} {year}"
        start = self.starts[group]
        return f"{start.year:04d}-{start.month:02d}" if self.every == "month" else f"{start.year:04d}"


def calendar_groups(axis: TimeAxis, every: Every, name: str) -> CalendarGroups:
    """Return the groups of an axis whose steps have a length.

    Parameters
    ----------
    axis
        Without faults.
    every
        Length of a group.
    name
        The field, for messages.

    Raises
    ------
    ClimateError
        If lengths of steps are unknown, or a step belongs to two groups.
    """
    if every not in get_args(Every):
        raise ClimateError(f"unknown period {every!r}; use one of {', '.join(get_args(Every))}")
    if axis.intervals is None:
        raise ClimateError(
            f"{name} has steps of unknown length, so it is unknown to which {every} each belongs. Select it from its "
            "dataset with climate.with_bounds(dataset, variable)"
        )
    lower, upper = axis.intervals
    tolerance = hole_tolerance(upper - lower)
    middles = [axis.date(second) for second in ((lower + upper) / 2).tolist()]
    months = np.array([date.year * 12 + date.month - 1 for date in middles])
    span = {"month": 1, "season": 3, "year": 12}[every]
    shift = 1 if every == "season" else 0  # December is the first month of a season
    keys = (months + shift) // span
    unique, number = np.unique(keys, return_inverse=True)
    starts = tuple(_first_of(axis, int(key) * span - shift) for key in unique)
    ends = tuple(_first_of(axis, (int(key) + 1) * span - shift) for key in unique)
    begin, end = (np.array([(date - axis.origin).total_seconds() for date in dates]) for dates in (starts, ends))
    outside = np.flatnonzero((lower < begin[number] - tolerance) | (upper > end[number] + tolerance))
    if outside.size:
        i = int(outside[0])
        raise ClimateError(
            f"{name} has a step from {axis.date(lower[i])} until before {axis.date(upper[i])}, which is not inside one "
            f"{every}. Use data with shorter steps, or longer periods"
        )
    covered = np.bincount(number, upper - lower)
    positions = (unique * span - shift) % 12 + 1 if every == "month" else unique % 4 if every == "season" else unique
    return CalendarGroups(every, number, starts, ends, covered > end - begin - tolerance, positions)


def _first_of(axis: TimeAxis, month: int) -> cftime.datetime:
    year, index = divmod(month, 12)
    return axis.origin.replace(year=year, month=index + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
