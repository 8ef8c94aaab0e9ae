"""The tolerance within which two coordinates are equal.

Belongs here: the tolerance for joining, subtracting, adding and regridding. Does not belong here: what happens if
coordinates differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Fraction of the smallest step by which values of an axis may differ; float32 at 0.25 degrees differs by 6e-5.
STEP_FRACTION = 1e-3
#: Fraction of the largest value by which values may differ without a step: a single value, or a 2-D coordinate.
VALUE_FRACTION = 1e-6


def same_coordinate(a: ArrayLike, b: ArrayLike) -> bool:
    """Return whether two coordinates are equal except for rounding.

    Parameters
    ----------
    a, b
        Values of two coordinates, of any shape and unit: arrays or DataArrays. Attributes and names are ignored.

    Returns
    -------
    True if shapes agree and values differ by at most 1e-3 of the smallest step of the axis; or, without a step (one
    value, equal neighbours, two dimensions), by at most 1e-6 of the largest value. An axis stored as float32 may also
    differ by the spacing of float32 numbers. Text, integers and dates must be equal; NaN equals NaN; dates of different
    calendars are never equal.
    """
    one, other = np.asarray(a), np.asarray(b)
    if one.shape != other.shape:
        return False
    if not (_is_number(one) and _is_number(other)) or (one.dtype.kind in "iu" and other.dtype.kind in "iu"):
        return _equal(one, other)
    numbers, others = one.astype(np.float64), other.astype(np.float64)
    if np.array_equal(numbers, others, equal_nan=True):
        return True
    known = np.isfinite(numbers)
    if not np.array_equal(known, np.isfinite(others)) or not _equal(
        numbers[~known].astype(str), others[~known].astype(str)
    ):
        return False
    difference = np.abs(numbers[known] - others[known])
    return bool((difference <= _tolerance(one, other, numbers, known)).all())


def _tolerance(one: NDArray[Any], other: NDArray[Any], numbers: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    largest = float(np.abs(numbers[known]).max())
    step = float(np.abs(np.diff(numbers[known])).min()) if one.ndim == 1 and known.sum() > 1 else 0.0
    if step == 0.0:
        return VALUE_FRACTION * largest
    single = np.float32 in (one.dtype, other.dtype)
    spacing = float(np.spacing(np.float32(largest))) if single else 0.0
    return min(max(STEP_FRACTION * step, spacing), step / 4)


def _is_number(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iuf"


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    try:
        return bool(np.array_equal(one, other))
    except TypeError:  # cftime cannot compare dates of different calendars
        return False
