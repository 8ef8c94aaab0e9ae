"""Selection of the requested periods from opened data: each must be complete, or an error lists the missing times.

Belongs here: finding the steps of joined entries in a period. Does not belong here: finding entries (catalog), joining
them (open), lengths of steps (climate.times.time_axis).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from xdask_pipelines.access.describing.coverage import seconds_of, time_axes
from xdask_pipelines.access.join import where
from xdask_pipelines.catalog.times import period_text, time_text
from xdask_pipelines.climate.times.time_axis import SAME_SECONDS, TimeAxis, periods_text
from xdask_pipelines.climate.times.time_faults import fault_of
from xdask_pipelines.errors import AccessError


class Opened(Protocol):
    """The properties of a catalog entry that selection needs."""

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
    """Keep the time steps in the periods, which they must cover completely.

    A step is in a period if all of it is, according to its bounds, or else to the spacing of the steps.

    Parameters
    ----------
    opened
        Result of `open_entries`. Data without a time dimension are returned unchanged.
    entries
        The opened entries. Steps of a dataset that is declared an excerpt may be missing. A file with one step whose
        path has a period covers that period.
    periods
        Half-open ranges of time keys.
    holes_are_checked
        Whether missing steps of a file whose path has a period are allowed here, because the check of the result counts
        them.

    Returns
    -------
    The dataset, still lazy; the same object if all steps are kept.

    Raises
    ------
    AccessError
        If steps are missing, steps extend beyond a period, or lengths of steps are unknown.
    """
    if not periods:
        return opened
    intervals = [(entry, _intervals(entry)) for entry in entries]
    timed = [steps for _, steps in intervals if steps is not None]
    dims = {steps.dim for steps in timed}
    if len(timed) != len(intervals) or len(dims) != 1 or not (dim := dims.pop()):
        return opened
    joined = _joined(sorted(timed, key=lambda steps: steps.first))  # as open_entries joins them
    excerpt = all(entry.excerpt for entry in entries)
    named = all((entry.header or {}).get("path_names_time") for entry in entries)
    keep = np.zeros(joined.lower.size, bool)
    for period in periods:
        keep |= _inside(joined, entries, period, excerpt=excerpt, checked=holes_are_checked and named)
    return opened if keep.all() else opened.isel({dim: _indexer(keep)})


@dataclass(frozen=True)
class _Intervals:
    """Start and end of the steps of one or more entries, in seconds after the axis's origin."""

    axis: TimeAxis
    dim: str
    lower: np.ndarray
    upper: np.ndarray

    @property
    def first(self) -> Any:
        """Return the first time."""
        return self.axis.date(self.axis.seconds[0])


def _intervals(entry: Opened) -> _Intervals | None:
    """Return the steps of one entry; None without time.

    Raises
    ------
    AccessError
        If their lengths are unknown and the path has no period, or their bounds are invalid.
    """
    header = entry.header or {}
    if "time" not in header:
        if header and "timeless" not in header and time_axes(header):  # from an older version without validation
            raise AccessError(
                f"The header of {where(entry)} was read by an older version, so no period can be selected. Run "
                "`xdask sync`, which reads and checks it again"
            )
        return None
    name, dim = header["time"]["name"], header["time"]["dim"]
    axis = time_axes(header)[name].with_step(header.get("step_seconds"))
    if fault := fault_of(axis):
        raise AccessError(
            f"{where(entry)}: {name!r} {fault}, so no period can be selected. Open it without time, drop the bounds if the "
            "times are right, and select steps with isel"
        )
    if axis.intervals is not None:
        return _Intervals(axis, dim, *axis.intervals)
    if header.get("path_names_time") and entry.time_start is not None and entry.time_end is not None:
        begin, end = (seconds_of(axis, key) for key in (entry.time_start, entry.time_end))
        edges = np.concatenate([[begin], axis.seconds[1:], [end]])  # the path has the period of all steps together
        return _Intervals(axis, dim, edges[:-1], edges[1:])
    if axis.kind == "moment":
        return _Intervals(axis, dim, axis.seconds, axis.seconds + SAME_SECONDS)
    raise AccessError(
        f"{where(entry)}: no period can be selected, because the length of each step of {name!r} is unknown: steps are at "
        "uneven intervals or longer than a day, and have no bounds. Open it without time, and select steps with isel"
    )


def _joined(parts: Sequence[_Intervals]) -> _Intervals:
    """Return the steps of several entries in the seconds of the first."""
    first = parts[0]
    shifts = [(part.axis.origin - first.axis.origin).total_seconds() for part in parts]
    lower = np.concatenate([part.lower + shift for part, shift in zip(parts, shifts, strict=True)])
    upper = np.concatenate([part.upper + shift for part, shift in zip(parts, shifts, strict=True)])
    return _Intervals(first.axis, first.dim, lower, upper)


def _inside(
    steps: _Intervals, entries: Sequence[Opened], period: tuple[int, int], *, excerpt: bool, checked: bool
) -> np.ndarray:
    """Return which steps are in a period."""
    axis, lower, upper = steps.axis, steps.lower, steps.upper
    try:
        begin, end = (seconds_of(axis, key) for key in period)
    except ValueError:
        begin = end = 0.0
    if not begin < end:
        raise AccessError(
            f"{time_text(period[0])} does not exist in the calendar {axis.origin.calendar!r} of {_named(entries)}. Ask for "
            "a period that does, such as a whole month"
        )
    inside: np.ndarray = (lower >= begin - SAME_SECONDS) & (upper <= end + SAME_SECONDS)
    what = period_text(*period, axis.origin.calendar)
    reaching = np.flatnonzero((lower < end - SAME_SECONDS) & (upper > begin + SAME_SECONDS) & ~inside)
    if reaching.size:
        i = int(reaching[0])
        raise AccessError(
            f"{_named(entries)} cannot be limited to {what}: a step lasts from {axis.date(lower[i])} until before "
            f"{axis.date(upper[i])}. Ask for a period that begins and ends with whole steps"
        )
    ends, starts = np.append(begin, upper[inside]), np.append(lower[inside], end)
    holes = np.flatnonzero(starts - ends > SAME_SECONDS + 0.1 * min(float(np.median(upper - lower)), 3600.0))
    if holes.size and not ((excerpt or checked) and inside.any()):
        missing = [(axis.date(ends[i]), axis.date(starts[i])) for i in holes]
        total = axis.count(begin, end)
        counted = f" ({int(inside.sum())} of {total} steps are there)" if total else ""
        declare = (
            "" if excerpt else "; or declare the dataset `excerpt: true` in regions.yaml if it is knowingly incomplete"
        )
        raise AccessError(
            f"{_named(entries)} does not cover {what}{counted}: {periods_text(missing)} is missing. Ask for a period that "
            f"it covers; or get the missing data and run `xdask sync`{declare}",
            missing=tuple(f"{a} until before {b}" for a, b in missing),
        )
    return inside


def _named(entries: Sequence[Opened]) -> str:
    more = f" with {len(entries) - 1} more" if len(entries) > 1 else ""
    return where(entries[0]) + more


def _indexer(keep: np.ndarray) -> slice | np.ndarray:
    at = np.flatnonzero(keep)
    return slice(int(at[0]), int(at[-1]) + 1) if at[-1] - at[0] + 1 == at.size else at
