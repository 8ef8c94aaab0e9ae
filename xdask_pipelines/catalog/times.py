"""Time as the catalog knows it: integers that order right in every calendar.

Belongs here: the integer form ``YYYYMMDDhhmmss``, and periods written as text. Does not belong here: real calendars,
which a reader of the data decodes; Feb 30 exists in 360_day ones, and year 12000 in spin-ups.
"""

from __future__ import annotations

import re
from functools import lru_cache

from xdask_pipelines.errors import CatalogError

_LONGEST_MONTHS = (31, 30, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # over all CF calendars: Feb 30 in 360_day
_PERIOD = re.compile(r"(\d{4,5})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d))?)?)?)?)?Z?", flags=re.ASCII)


def time_key(year: int, month: int = 1, day: int = 1, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    """Instant as an integer whose decimal digits are ``YYYYMMDDhhmmss`` (years may have five digits).

    Integers compare as the instants do, in any calendar, for years 1 to 99999.

    Raises
    ------
    CatalogError
        No CF calendar has such an instant.
    """
    ok = 1 <= year <= 99999 and 1 <= month <= 12 and 1 <= day <= _LONGEST_MONTHS[month - 1]
    if not (ok and 0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        raise CatalogError(
            f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02} exists in no calendar; "
            f"write a period such as 2026, 2026-03, 2026-03-25 or 2026-03-25T06"
        )
    return _join(year, month, day, hour, minute, second)


@lru_cache(10_000)
def time_range(period: str) -> tuple[int, int]:
    """Half-open range [start, end) of a period: ``2026``, ``2026-03``, ``2026-03-25`` or ``2026-03-25T06``.

    The end carries over (December ends at the next year's January 1), except into the next month: how long a month is
    depends on the calendar, so that 2026-02-28 ends at "2026-02-29", which in every calendar lies after all instants
    of the 28th and not after the 1st of March.

    Raises
    ------
    CatalogError
        The text is no such period.
    """
    match = _PERIOD.fullmatch(period)
    if match is None:
        raise CatalogError(f"{period!r} is not a period; write one such as 2026, 2026-03, 2026-03-25 or 2026-03-25T06")
    given = [int(part) for part in match.groups() if part is not None]
    start = time_key(*given)
    fields = [*given, *(1, 1, 1, 0, 0, 0)[len(given) :]]
    at = len(given) - 1
    fields[at] += 1
    for i, most in ((5, 59), (4, 59), (3, 23)):
        if fields[i] > most:
            fields[i] = 0
            fields[i - 1] += 1
    if fields[1] > 12:
        fields[1] = 1
        fields[0] += 1
    return start, _join(*fields)


def time_text(key: int) -> str:
    """A time key as ISO-like text, without the trailing parts that are the first of their kind."""
    rest, second = divmod(key, 100)
    rest, minute = divmod(rest, 100)
    rest, hour = divmod(rest, 100)
    rest, day = divmod(rest, 100)
    year, month = divmod(rest, 100)
    if hour or minute or second:
        clock = f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
        return f"{year:04}-{month:02}-{day:02}T{clock}"
    if day > 1:
        return f"{year:04}-{month:02}-{day:02}"
    return f"{year:04}-{month:02}"


def _join(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    return ((((year * 100 + month) * 100 + day) * 100 + hour) * 100 + minute) * 100 + second
