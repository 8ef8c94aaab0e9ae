"""Faults of time axes: stamps that do not increase, and bounds that contradict them or each other.

Belongs here: finding faults, and describing them. Does not belong here: the consequences (access, means), arithmetic on
axes (time_axis).
"""

from __future__ import annotations

import numpy as np

from xdask_pipelines.climate.times.time_axis import DAY, SAME_SECONDS, Float, TimeAxis, hole_tolerance


def fault_of(axis: TimeAxis) -> str | None:
    """Return the first fault of an axis, as a clause that follows its name; None if it has no fault."""
    return _stamp_fault(axis) or (None if axis.bounds is None else _bounds_fault(axis, *axis.bounds))


def bounds_elsewhere(axis: TimeAxis) -> bool:
    """Return whether all stamps lie outside their bounds: then the bounds are probably wrong and the stamps right."""
    if axis.bounds is None:
        return False
    lower, upper = axis.bounds
    return lower.shape == upper.shape == axis.seconds.shape and bool(
        ((axis.seconds < lower - SAME_SECONDS) | (axis.seconds > upper + SAME_SECONDS)).all()
    )


def _stamp_fault(axis: TimeAxis) -> str | None:
    if (bad := np.flatnonzero(~np.isfinite(axis.seconds))).size:
        return f"has no value at step {bad[0]}"
    if (bad := np.flatnonzero(~(axis.gaps_seconds > 0))).size:
        i = int(bad[0])
        if axis.gaps_seconds[i] == 0:
            return f"has {axis.date(axis.seconds[i])} twice, at steps {i} and {i + 1}"
        return f"goes back at step {i + 1}, from {axis.date(axis.seconds[i])} to {axis.date(axis.seconds[i + 1])}"
    return None


def _bounds_fault(axis: TimeAxis, lower: Float, upper: Float) -> str | None:
    if not (lower.shape == upper.shape == axis.seconds.shape):
        return f"has {axis.size} steps and bounds of shape {lower.shape}"
    if (bad := np.flatnonzero(~(np.isfinite(lower) & np.isfinite(upper)))).size:
        return f"has no bounds at step {bad[0]}"
    if (bad := np.flatnonzero(~(upper > lower))).size:
        return f"has bounds that span no time at step {bad[0]} ({_words(axis, bad[0])})"
    outside = (axis.seconds < lower - SAME_SECONDS) | (axis.seconds > upper + SAME_SECONDS)
    if (bad := np.flatnonzero(outside)).size:
        return f"lies outside its bounds at step {bad[0]}: {axis.date(axis.seconds[bad[0]])}, {_words(axis, bad[0])}"
    if axis.size < 2:
        return None
    tolerance = hole_tolerance(upper - lower)
    between = lower[1:] - upper[:-1]
    if (bad := np.flatnonzero(between < -tolerance)).size:
        i = int(bad[0])
        return f"has bounds that overlap at steps {i} and {i + 1} ({_words(axis, i)}; {_words(axis, i + 1)})"
    usual = float(np.median(axis.gaps_seconds if axis.size > 2 else upper - lower))
    if (bad := np.flatnonzero((between > tolerance) & (axis.gaps_seconds <= 1.5 * usual))).size:
        i = int(bad[0])
        return f"has bounds that leave a gap between steps {i} and {i + 1} ({_words(axis, i)}; {_words(axis, i + 1)})"
    near = 1.5 * np.maximum(np.append(axis.gaps_seconds, 0), np.insert(axis.gaps_seconds, 0, 0)) + tolerance
    if (bad := np.flatnonzero((axis.seconds - lower > near) | (upper - axis.seconds > near))).size:
        i = int(bad[0])
        return f"has bounds far from its stamp at step {i}: {axis.date(axis.seconds[i])}, {_words(axis, i)}"
    return None


def _words(axis: TimeAxis, step: int) -> str:
    assert axis.bounds is not None
    ends = (float(side[step]) for side in axis.bounds)
    try:
        first, last = map(axis.date, ends)
    except (OverflowError, ValueError):  # beyond the range of dates
        return f"bounds {axis.bounds[0][step] / DAY:g} to {axis.bounds[1][step] / DAY:g} days after {axis.origin}"
    return f"bounds {first} to {last}"
