"""Tables of catalog entries: files of datasets, and results.

Belongs here: columns and their format. Does not belong here: finding entries (catalog), details of one entry (show).
"""

from __future__ import annotations

from collections.abc import Iterable

from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.series import calendar_of
from xdask_pipelines.catalog.times import period_text
from xdask_pipelines.cli.common import columns
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.system.units import format_bytes

_RESULT = "result"  # layout of results
_UNKNOWN = "-"


def file_lines(entries: Iterable[Entry]) -> list[str]:
    """Return the table of the entries that are files or stores of datasets; empty without such entries."""
    rows = [
        (e.dataset, e.region, format_bytes(e.size_bytes), _time(e), _shape(e), _name(e.key, e.part))
        for e in entries
        if e.layout != _RESULT
    ]
    return columns([("DATASET", "REGION", "SIZE", "TIME", "SHAPE", "KEY"), *rows], right=(2,)) if rows else []


def result_lines(entries: Iterable[Entry]) -> list[str]:
    """Return the table of the entries that are results; empty without results."""
    rows = [
        (_name(e.dataset, e.part), e.region, format_bytes(e.size_bytes), _made(e.version), _shape(e), one_line(e.key))
        for e in entries
        if e.layout == _RESULT
    ]
    return columns([("RESULT", "REGION", "SIZE", "MADE (UTC)", "SHAPE", "KEY"), *rows], right=(2,)) if rows else []


def _name(name: str, part: str) -> str:
    return one_line(f"{name}[{part}]" if part else name)


def _time(entry: Entry) -> str:
    if entry.time_start is None or entry.time_end is None:
        return _UNKNOWN
    return period_text(entry.time_start, entry.time_end, calendar_of(entry))


def _shape(entry: Entry) -> str:
    """Return the shape of the variable in its header; unknown without header."""
    about = (entry.header or {}).get("variables", {}).get(entry.variable)
    return " × ".join(map(str, about["shape"])) or "scalar" if about else _UNKNOWN


def _made(version: str) -> str:
    """Return the time in a result's version, such as ``20261127T231318089236-…``."""
    return f"{version[:4]}-{version[4:6]}-{version[6:8]} {version[9:11]}:{version[11:13]}"
