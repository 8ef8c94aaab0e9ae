"""Opened data cut to the periods that were asked for: all of each period, or an error that lists what is missing.

Belongs here: which steps of joined entries lie in a period. Does not belong here: which entries cover it (catalog), joining
them (open), how long steps last (climate.time_axis).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr

from xdask_pipelines.access.describing.coverage import seconds_of
from xdask_pipelines.access.join import where
from xdask_pipelines.catalog.times import period_text
from xdask_pipelines.climate.time_axis import SAME_SECONDS, TimeAxis, periods_text
from xdask_pipelines.climate.time_faults import fault_of
from xdask_pipelines.errors import AccessError


class Opened(Protocol):
    """What selection needs of a catalog entry."""

    @property
    def region(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def excerpt(self) -> bool: ...
    @property
    def time_start(self) -> int | None: ...
    @property
    def time_end(self) -> int | None: ...
    @property
    def header(self) -> Mapping[str, Any] | None: ...


def within(
    opened: xr.Dataset,
    entries: Sequence[Opened],
    periods: Sequence[tuple[int, int]],
    *,
    holes_are_checked: bool = False,
) -> xr.Dataset:
    """Keep the time steps that lie in the periods, which they must cover.

    A step lies in a period if it lasts from its beginning to its end in it: by its bounds, else by the spacing of the
    steps.

    Parameters
    ----------
    opened
        What `open_entries` made of the entries. Data without a time dimension stay as they are.
    entries
        Of a dataset that is declared an excerpt, steps may be missing. A file of one step whose path names its period holds
        all of that period.
    periods
        Half-open ranges of time keys.
    holes_are_checked
        The check of the result counts what a file lacks of the period that its path names: missing steps of such a file
        are then no error here.

    Returns
    -------
    Dataset, lazy as before; the very same if all steps are kept.

    Raises
    ------
    AccessError
        Steps are missing, with their times; or steps reach beyond a period; or how long they last is not known.
    """
    name = _time_dimension(opened)
    if name is None or not periods:
        return opened
    axis = _axis(opened, name, entries)
    if fault := fault_of(axis):
        raise AccessError(
            f"{_named(entries)}: {name!r} {fault}, so that no period can be selected. Open it without time, drop the bounds "
            "if the stamps are right, and select steps with isel"
        )
    named = all((e.header or {}).get("path_names_time") for e in entries)
    excerpt = all(entry.excerpt for entry in entries)
    if axis.intervals is None:
        if named:
            return opened  # the paths are all that is known
        raise AccessError(
            f"{_named(entries)}: how long each step of {name!r} lasts is not known, for they are unevenly apart and have no "
            "bounds, so that no period can be selected. Open it without time, and select steps with isel"
        )
    keep = np.zeros(axis.size, bool)
    for period in periods:
        keep |= _steps_of(axis, entries, period, holes_pass=excerpt or (holes_are_checked and named))
    return opened if keep.all() else opened.isel({name: _indexer(keep)})


def _time_dimension(opened: xr.Dataset) -> str | None:
    used = {dim for variable in opened.data_vars.values() for dim in variable.dims}
    times = [
        str(dim)
        for dim in opened.dims
        if dim in opened.coords and opened[dim].dtype == object and opened[dim].size and dim in used
    ]
    return next(iter(times), None)


def _axis(opened: xr.Dataset, name: str, entries: Sequence[Opened]) -> TimeAxis:
    time = opened[name]
    bounds = opened.coords.get(str(time.attrs.get("bounds", time.encoding.get("bounds", ""))))
    if bounds is not None and bounds.chunks is None and bounds.dims[0] == name and bounds.shape == (time.size, 2):
        ends = {f"{name}_{side}": (name, bounds.values[:, i]) for i, side in enumerate(("lower", "upper"))}
        time = opened[[name]].assign_coords(ends)[name]
    steps = {(e.header or {}).get("step_seconds") for e in entries}
    axis = TimeAxis.of(time).with_step(next(iter(steps)) if len(steps) == 1 else None)
    only = entries[0] if len(entries) == 1 else None
    if (
        axis.kind == "moment"
        and axis.bounds is None
        and only is not None
        and (only.header or {}).get("path_names_time")
    ):
        begin, end = (np.array([seconds_of(axis, key)]) for key in (only.time_start or 0, only.time_end or 0))
        return TimeAxis(axis.origin, axis.seconds, (begin, end))
    return axis


def _steps_of(axis: TimeAxis, entries: Sequence[Opened], period: tuple[int, int], *, holes_pass: bool) -> np.ndarray:
    assert axis.intervals is not None
    lower, upper = axis.intervals
    begin, end = (seconds_of(axis, key) for key in period)
    inside: np.ndarray = (lower >= begin - SAME_SECONDS) & (upper <= end + SAME_SECONDS)
    what = period_text(*period, axis.origin.calendar)
    reaching = np.flatnonzero((lower < end - SAME_SECONDS) & (upper > begin + SAME_SECONDS) & ~inside)
    if reaching.size:
        i = int(reaching[0])
        raise AccessError(
            f"{_named(entries)} cannot be cut to {what}: a step lasts from {axis.date(lower[i])} until before "
            f"{axis.date(upper[i])}. Ask for a period that begins and ends with whole steps"
        )
    ends, starts = np.append(begin, upper[inside]), np.append(lower[inside], end)
    holes = np.flatnonzero(starts - ends > SAME_SECONDS + 0.1 * min(float(np.median(upper - lower)), 3600.0))
    if holes.size and not (holes_pass and inside.any()):
        missing = [(axis.date(ends[i]), axis.date(starts[i])) for i in holes]
        total = axis.count(begin, end)
        counted = f" ({int(inside.sum())} of {total} steps are there)" if total else ""
        raise AccessError(
            f"{_named(entries)} does not cover {what}{counted}: {periods_text(missing)} is missing. Ask for a period that "
            "it covers, fetch the rest and run `xdask sync`, or declare the dataset `excerpt: true` in regions.yaml if "
            "it is knowingly incomplete",
            missing=tuple(f"{a} until before {b}" for a, b in missing),
        )
    return inside


def _named(entries: Sequence[Opened]) -> str:
    more = f" with {len(entries) - 1} more" if len(entries) > 1 else ""
    return where(entries[0]) + more


def _indexer(keep: np.ndarray) -> slice | np.ndarray:
    at = np.flatnonzero(keep)
    return slice(int(at[0]), int(at[-1]) + 1) if at[-1] - at[0] + 1 == at.size else at
