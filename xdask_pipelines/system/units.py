"""Formatting of numbers with units.

Belongs here: the format. Does not belong here: the numbers.
"""

from __future__ import annotations

from math import isfinite


def format_bytes(nbytes: float) -> str:
    """Format bytes in decimal units: ``7.7 MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 999.5 or unit == "TB":
            break
        nbytes /= 1000
    return f"{nbytes:.0f} {unit}" if unit == "B" or nbytes >= 99.5 else f"{nbytes:.1f} {unit}"


def counted(number: int, one: str, many: str = "") -> str:
    """Format a number with its noun: "1 entry", "2 entries"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def with_units(number: str, units: str) -> str:
    """Append the units to a number; those of dimensionless numbers, ``1``, are not shown.

    Examples
    --------
    >>> with_units("3.40", "K"), with_units("0.10", "1")
    ('3.40 K', '0.10')
    """
    return number if units in ("", "1") else f"{number} {units}"


def number(value: float) -> str:
    """Format a value for display, with a true minus sign.

    Examples
    --------
    >>> number(-3.39857), number(1234567.8), number(0.00012345)
    ('−3.40', '1.23457e+06', '0.000123')
    """
    if not isfinite(value):
        return str(value)
    text = (
        f"{value:.2f}"
        if 0.1 <= abs(value) < 1000 or value == 0
        else f"{value:.6g}"
        if abs(value) > 1
        else f"{value:.3g}"
    )
    return text.replace("-", "−")
