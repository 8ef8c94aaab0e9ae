"""Entries that follow one another in time: which are the same thing, and whether they make a whole range.

Belongs here: replicas, parts of one series, holes and overlaps. Does not belong here: what was asked, or errors (resolve).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.times import carried, period_text

Replicas = tuple[Entry, ...]  # of one thing: one entry a Region, sorted by Region

#: What the parts of one series may differ in: a path says its time by these.
TIME_FACETS = frozenset({"year", "month", "day"})


@dataclass(frozen=True)
class Joined:
    """What entries make of a range of time.

    Attributes
    ----------
    parts
        In the order of time: the period of each part in words, and its replicas. Empty if there are ``overlapping`` ones.
    holes
        Periods of the range, in words, that no entry covers.
    overlapping
        Entries among which nothing chooses: of different series, or of the same time.
    """

    parts: tuple[tuple[str, Replicas], ...] = ()
    holes: tuple[str, ...] = ()
    overlapping: tuple[Entry, ...] = ()


def join_in_time(entries: Sequence[Entry], start: int, end: int) -> Joined:
    """Join entries in the order of time, so that they make the half-open range [start, end).

    Parameters
    ----------
    entries
        All that overlap the range; each has a time.
    start, end
        Time keys.

    Returns
    -------
    Joined
        Without holes and overlapping entries, the parts make the range exactly once.
    """
    things: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        things.setdefault(_thing(entry), []).append(entry)
    if len({_series(entry) for entry in entries}) > 1 or not all(map(are_replicas, things.values())):
        return Joined(overlapping=tuple(entries))
    parts: list[tuple[str, Replicas]] = []
    holes: list[tuple[int, int, str]] = []
    reached, calendar = start, "standard"
    last: Replicas = ()
    for replicas in sorted(things.values(), key=lambda found: _times(found[0])):
        (first, until), calendar = _times(replicas[0]), calendar_of(replicas[0])
        if last and first < reached:
            return Joined(overlapping=(*last, *replicas))
        if reached < first:
            holes.append((reached, first, calendar))
        parts.append((period_text(first, until, calendar), tuple(sorted(replicas, key=lambda e: e.region))))
        reached, last = carried(until, calendar), tuple(replicas)
    if reached < carried(end, calendar):
        holes.append((reached, end, calendar))
    return Joined(tuple(parts), tuple(period_text(*hole) for hole in holes))


def are_replicas(entries: Sequence[Entry]) -> bool:
    """Whether entries are one thing, each in a Region of its own; their paths may differ."""
    return len(set(map(_thing, entries))) == 1 and len({entry.region for entry in entries}) == len(entries)


def calendar_of(entry: Entry) -> str:
    """Calendar of an entry's time axis; ``standard`` while no header says another."""
    coords: Iterable[dict[str, Any]] = (entry.header or {}).get("coords", {}).values()
    found = (c["attrs"].get("calendar") for c in coords if "since" in str(c.get("attrs", {}).get("units", "")))
    return str(next(filter(None, found), "standard"))


def _thing(e: Entry) -> Hashable:
    facets = sorted(e.facets.items())
    return e.dataset, e.layout, e.variable, e.version, e.part, e.time_start, e.time_end, e.excerpt, *facets


def _series(e: Entry) -> Hashable:
    facets = sorted((name, value) for name, value in e.facets.items() if name not in TIME_FACETS)
    return e.dataset, e.layout, e.variable, e.version, e.part, *facets


def _times(entry: Entry) -> tuple[int, int]:
    if entry.time_start is None or entry.time_end is None:
        raise ValueError(f"{entry} has no time; a search by time does not find it")
    return entry.time_start, entry.time_end
