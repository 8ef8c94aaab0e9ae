"""Opened data cut to the periods that were asked for: a store may hold more than them.

Belongs here: which steps lie in a period. Does not belong here: which entries cover it (catalog), joining them (open).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import cftime
import numpy as np
import xarray as xr

from xdask_pipelines.catalog.times import carried, period_text
from xdask_pipelines.errors import AccessError

#: By how much a step may be longer than its period, where only the usual length of steps is known: months of 28 and 31 days.
_IRREGULAR = timedelta(days=3)


def within(opened: xr.Dataset, periods: Sequence[tuple[int, int]]) -> xr.Dataset:
    """Keep the time steps that lie in one of the periods.

    A step lies where the middle of its bounds lies; without bounds, where its time lies.

    Parameters
    ----------
    opened
        With times as cftime objects. Data without a time dimension stay as they are.
    periods
        Half-open ranges of time keys.

    Returns
    -------
    Dataset, lazy as before; the very same if all steps are kept.

    Raises
    ------
    AccessError
        No step lies in a period, or the steps are longer than it.
    """
    for name in [str(n) for n in opened.dims if n in opened.coords]:
        axis = opened[name]
        if axis.size and isinstance(axis.values.flat[0], cftime.datetime):
            keep = _steps(opened, name, periods)
            if not keep.all():
                opened = opened.isel({name: _indexer(keep)})
    return opened


def _steps(opened: xr.Dataset, name: str, periods: Sequence[tuple[int, int]]) -> np.ndarray:
    times = opened[name].values
    calendar = times[0].calendar
    bounds = opened.coords.get(opened[name].attrs.get("bounds", opened[name].encoding.get("bounds", "")))
    lengths = np.full(times.size, timedelta())
    if bounds is not None and bounds.shape == (times.size, 2):
        lengths = np.abs(bounds.values[:, 1] - bounds.values[:, 0])
        times = np.minimum(bounds.values[:, 0], bounds.values[:, 1]) + lengths / 2
    elif times.size > 1 and (step := np.sort(np.abs(np.diff(times)))[times.size // 2 - 1]) > timedelta(days=1):
        lengths[:] = step  # shorter ones may be instants, of which one hour of a day may be asked for
    keep = np.zeros(times.size, bool)
    for first, end in periods:
        start, stop = _instant(first, times[0]), _instant(carried(end, calendar), times[0])
        inside = (times >= start) & (times < stop)
        what = f"{period_text(first, end, calendar)} was asked for"
        if not inside.any():
            raise AccessError(
                f"{what}, and no time step lies in it: the steps run from {opened[name].values[0]} to "
                f"{opened[name].values[-1]}. Ask for a period as long as the steps, such as a whole year."
            )
        longest = max(lengths[inside])
        if longest > stop - start + _IRREGULAR:
            raise AccessError(
                f"{what}, and the time steps are longer: {longest.days} days. Ask for a period that holds whole steps, such "
                "as a whole year."
            )
        keep |= inside
    return keep


def _instant(key: int, like: cftime.datetime) -> cftime.datetime:
    rest, clock = divmod(key, 1_000_000)
    date, day = divmod(rest, 100)
    year, month = divmod(date, 100)
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    return cftime.datetime(
        year, month, day, hour, minute, second, calendar=like.calendar, has_year_zero=like.has_year_zero
    )


def _indexer(keep: np.ndarray) -> slice | np.ndarray:
    at = np.flatnonzero(keep)
    return slice(int(at[0]), int(at[-1]) + 1) if at[-1] - at[0] + 1 == at.size else at
