"""Time keys: times as integers, which sort correctly in every calendar.

Belongs here: the integer form ``YYYYMMDDhhmmss``, and periods as text. Does not belong here: real calendars, which
readers of the data decode. Feb 30 exists in 360_day calendars, and year 12000 in spin-ups.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

import cftime

from xdask_pipelines.errors import CatalogError

_LONGEST_MONTHS = (31, 30, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # maximum over all CF calendars: Feb 30 in 360_day
#: One period, or the first and the last of a range.
Time = str | tuple[str, str]

_PERIOD = re.compile(r"(\d{4,5})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d))?)?)?)?)?Z?", flags=re.ASCII)


def time_key(year: int, month: int = 1, day: int = 1, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    """Return a time as an integer with the decimal digits ``YYYYMMDDhhmmss`` (years may have five digits).

    The integers sort like the times, in any calendar, for years 1 to 99999.

    Raises
    ------
    CatalogError
        If no CF calendar has such a time.
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
    """Return the half-open range [start, end) of a period: ``2026``, ``2026-03``, ``2026-03-25`` or ``2026-03-25T06``.

    The end carries over (December ends at January 1 of the next year), except from a day into the next month, because
    lengths of months depend on the calendar: 2026-02-28 ends at "2026-02-29", which in every calendar is after the 28th
    and not after the 1st of March.

    Raises
    ------
    CatalogError
        If the text is not such a period.
    """
    match = _PERIOD.fullmatch(period) if isinstance(period, str) else None
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


def range_of(time: Time) -> tuple[int, int]:
    """Return the half-open range [start, end) of ``time``: one period, or a range of two periods, both included.

    Raises
    ------
    CatalogError
        If ``time`` is neither, or the last period ends before the first starts.
    """
    if isinstance(time, str):
        return time_range(time)
    if not isinstance(time, tuple) or len(time) != 2 or not all(isinstance(period, str) for period in time):
        raise CatalogError(
            f"time = {time!r} is neither one period nor a range of two. Write one period, such as time='2020-03', or the "
            f"first and the last of a range, such as time={_example(time)!r}"
        )
    start, end = time_range(time[0])[0], time_range(time[1])[1]
    if start >= end:
        raise CatalogError(f"time = {time!r} ends before it starts; write time={time[::-1]!r}")
    return start, end


def refuse_times(times: Any) -> CatalogError:
    """Return the error for ``times`` in a search, which filters by one ``time``."""
    remedy = f"time={times!r}" if isinstance(times, str) else f"time={_example(times)!r}"
    return CatalogError(
        f"A search has the filter time (one period or a range of two), not times. Write {remedy}; times, a list of "
        f"separate periods, belongs to resolve and open"
    )


def _example(given: Any) -> tuple[str, str]:
    """Return the range that was probably meant, for an error message."""
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if len(values) >= 2 and all(isinstance(v, str) and _PERIOD.fullmatch(v) for v in values):
        return min(values, key=time_range), max(values, key=time_range)
    return "2020-01", "2020-12"


def ends_late(end: int) -> bool:
    """Return whether a range ends on a day that does not exist in all months, so that `carried` may change it."""
    return end // 1_000_000 % 100 > 28


def carried(end: int, calendar: str = "standard") -> int:
    """Return the end of a range, carried over to the first of the next month if the month has no such day.

    2011-02-28 ends at "2011-02-29" (see `time_range`), which is 2011-03-01 in all calendars but ``360_day`` and
    ``all_leap``.
    """
    if not ends_late(end):
        return end
    day, clock = divmod(end, 1_000_000)
    month_key, number = divmod(day, 100)
    year, month = divmod(month_key, 100)
    if number <= _days(year, month, calendar):
        return end
    year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return _join(year, month, 1, 0, 0, 0) + clock


def _days(year: int, month: int, calendar: str) -> int:
    if calendar == "360_day":
        return 30
    if month != 2:
        return 31 if month in (1, 3, 5, 7, 8, 10, 12) else 30
    if calendar in ("noleap", "365_day"):
        return 28
    known = calendar if calendar in ("all_leap", "366_day", "julian", "proleptic_gregorian") else "standard"
    return 29 if known in ("all_leap", "366_day") or cftime.is_leap_year(year, known) else 28


def period_text(start: int, end: int, calendar: str = "standard") -> str:
    """Return a half-open range as text: ``2011-07``, or ``2011-07 to 2011-09`` with the last included."""
    (*first, a_minute, a_second), (*last, b_minute, b_second) = _split(start), _split(carried(end, calendar))
    if a_minute or a_second or b_minute or b_second:
        return f"{time_text(start)} until before {time_text(end)}"
    if first[1:] == last[1:] == [1, 1, 0]:
        texts = [f"{first[0]:04}", f"{last[0] - 1:04}"]
    elif first[2:] == last[2:] == [1, 0]:
        year, month = (last[0], last[1] - 1) if last[1] > 1 else (last[0] - 1, 12)
        texts = [f"{first[0]:04}-{first[1]:02}", f"{year:04}-{month:02}"]
    else:
        hourly = bool(first[3] or last[3])
        before = cftime.datetime(*last, calendar=calendar) - (timedelta(hours=1) if hourly else timedelta(days=1))
        last = [before.year, before.month, before.day, before.hour]
        texts = [f"{y:04}-{m:02}-{d:02}" + (f"T{h:02}" if hourly else "") for y, m, d, h in (first, last)]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def _split(key: int) -> list[int]:
    fields = []
    for _ in range(5):
        key, field = divmod(key, 100)
        fields.append(field)
    return [key, *reversed(fields)]


def time_text(key: int) -> str:
    """Return a time key as ISO-like text, without trailing parts that are at their start."""
    year, month, day, hour, minute, second = _split(key)
    if hour or minute or second:
        clock = f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
        return f"{year:04}-{month:02}-{day:02}T{clock}"
    if day > 1:
        return f"{year:04}-{month:02}-{day:02}"
    return f"{year:04}-{month:02}"


def _join(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    return ((((year * 100 + month) * 100 + day) * 100 + hour) * 100 + minute) * 100 + second
