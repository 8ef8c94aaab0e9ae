"""Missing values: weighted sums over the values that are there, and how many must be there.

Belongs here: the rule of all means and of regridding. Does not belong here: the weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xdask_pipelines.errors import ClimateError

Float = NDArray[np.float64]

#: Rounding of sums of weights: a fraction that is less than the smallest one by this is still enough.
ROUNDING = 1e-12


def renormalised(weighted: Callable[[Float], Float], values: Float, min_fraction: float, *, complete: bool) -> Float:
    """Compute weighted means of the values that are not NaN: ``R(f m) / R(m)`` with m = 1 where f is known, else 0.

    Parameters
    ----------
    weighted
        A linear function R, whose weights sum to 1 or, where the source is not complete, to the fraction covered.
    values
        Values f, of the shape that ``weighted`` takes.
    min_fraction
        Where R(m) is smaller, the result is NaN.
    complete
        True if all weights of R sum to 1: without NaN among the values, R(m) need not be computed.
    """
    known = ~np.isnan(values)
    if complete and known.all():
        return weighted(values)
    return divided(weighted(np.where(known, values, 0.0)), weighted(known.astype(np.float64)), min_fraction)


def divided(total: Float, fraction: Float, min_fraction: float) -> Float:
    """Divide weighted sums by the fraction of the weights that they have; NaN where it is less than ``min_fraction``."""
    enough = (fraction >= min_fraction - ROUNDING) & (fraction > ROUNDING)
    # Where all is there, the sum is the mean already: dividing by 1 - 1e-16 would change its last digit.
    divisor = np.where(fraction < 1.0 - ROUNDING, fraction, 1.0)
    return np.where(enough, total / np.where(enough, divisor, 1.0), np.nan)


def require_fraction(value: float, name: str) -> None:
    """Raise ``ClimateError`` unless a required fraction is a number from 0 to 1."""
    if not 0.0 <= value <= 1.0:
        raise ClimateError(
            f"{name} is {value!r}, but it is a fraction from 0 (any value is enough) to 1 (no value may be missing)"
        )
