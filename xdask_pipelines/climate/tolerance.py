"""How close two coordinates must be to count as one.

Belongs here: the tolerance, which is one for joining, subtracting, adding and regridding. Does not belong here: what
happens when coordinates differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Part of the smallest step of an axis by which its values may differ: float32 at 0.25 degrees differs by 6e-5 of it.
STEP_FRACTION = 1e-3
#: Part of the largest value by which values may differ where there is no step: a single value, or a 2-D coordinate.
VALUE_FRACTION = 1e-6


def same_coordinate(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether two coordinates are the same but for rounding.

    Parameters
    ----------
    a, b
        Values of two coordinates, of any shape and unit: arrays or DataArrays. Attributes and names are not looked at.

    Returns
    -------
    True if shapes agree and values differ by at most 1e-3 of the smallest step of the axis, or, where there is no step
    (one value, equal neighbours, two dimensions), by at most 1e-6 of the largest value. An axis stored as float32 may
    also differ by the spacing of float32 numbers. Text, whole numbers and dates must be equal; NaN equals NaN; dates of
    two calendars are never the same.
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
    except TypeError:  # cftime does not compare dates of two calendars
        return False
