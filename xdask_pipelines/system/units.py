"""Formatting of numbers with units.

Belongs here: the format. Does not belong here: the numbers.
"""

from __future__ import annotations


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
