"""Series of entries in time: replicas, and whether consecutive entries cover a whole range.

Belongs here: replicas, parts of one series, gaps and overlaps. Does not belong here: requests and errors (resolve).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.times import carried, period_text

Replicas = tuple[Entry, ...]  # one entry for each Region, sorted by Region

#: Facets in which the parts of one series may differ: they are the time in a path.
TIME_FACETS = frozenset({"year", "month", "day"})


@dataclass(frozen=True)
class Joined:
    """The result of joining entries over a range of time.

    Attributes
    ----------
    parts
        The period of each part as text, and its replicas, in order of time. Empty if entries are ``overlapping``.
    holes
        Periods of the range, as text, that no entry covers.
    overlapping
        Entries that are ambiguous: of different series, or of the same time.
    """

    parts: tuple[tuple[str, Replicas], ...] = ()
    holes: tuple[str, ...] = ()
    overlapping: tuple[Entry, ...] = ()


def join_in_time(entries: Sequence[Entry], start: int, end: int) -> Joined:
    """Join entries in order of time to cover the half-open range [start, end).

    Parameters
    ----------
    entries
        All entries that overlap the range; each must have a time.
    start, end
        Time keys.

    Returns
    -------
    Joined
        The result; without holes and overlapping entries, the parts cover the range exactly once.
    """
    things: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        things.setdefault(_thing(entry), []).append(entry)
    if len({_series(entry) for entry in entries}) > 1 or not all(map(are_replicas, things.values())):
        return Joined(overlapping=tuple(entries))
    if differing := [found for found in things.values() if replica_difference(found)]:
        return Joined(overlapping=tuple(differing[0]))
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
        inner = [] if replicas[0].excerpt else (replicas[0].header or {}).get("time_gaps", ())
        holes += [(max(a, start), min(b, end), calendar) for a, b in inner if a < end and start < b]
        parts.append((period_text(first, until, calendar), tuple(sorted(replicas, key=lambda e: e.region))))
        reached, last = carried(until, calendar), tuple(replicas)
    if reached < carried(end, calendar):
        holes.append((reached, end, calendar))
    return Joined(tuple(parts), tuple(period_text(*hole) for hole in holes))


def are_replicas(entries: Sequence[Entry]) -> bool:
    """Return whether entries are replicas in different Regions; their paths may differ."""
    return len(set(map(_thing, entries))) == 1 and len({entry.region for entry in entries}) == len(entries)


def replica_difference(entries: Sequence[Entry]) -> str:
    """Return the difference of replicas as text; empty if they are equal in the catalog.

    Sizes, digests and, if headers are known, coordinates and variables are compared. The digest of an object that was
    uploaded in parts does not depend on its content alone, and is ignored.
    """
    first, *others = sorted(entries, key=lambda entry: entry.region)
    for other in others:
        where = f"in {first.region} and {other.region}"
        for name, found in (*_grids(first, other), ("size", [f"{e.size_bytes} bytes" for e in (first, other)])):
            if found[0] != found[1]:
                shown = "" if name.startswith("data of") else f" ({found[0]} and {found[1]})"
                return f"{name} differs {where}{shown}"
        if first.etag != other.etag and not any("-" in e.etag for e in (first, other)):
            return f"content differs {where} (digests {first.etag[:12]} and {other.etag[:12]})"
    return ""


def _grids(first: Entry, other: Entry) -> Iterable[tuple[str, list[Any]]]:
    """Iterate over the properties of coordinates and variables in two headers."""
    if first.header is None or other.header is None:
        return
    headers = first.header, other.header
    for kind, parts in (("coords", ("shape", "data")), ("variables", ("dims", "shape"))):
        names = [set(header.get(kind, {})) for header in headers]
        yield f"set of {kind}", [sorted(found) for found in names]
        for name in sorted(names[0] & names[1]):
            pair = [header[kind][name] for header in headers]
            for part in parts:
                yield f"{part} of {name}", [found.get(part) for found in pair]
            yield f"units of {name}", [found.get("attrs", {}).get("units") for found in pair]


def time_pieces(entry: Entry) -> list[tuple[int, int]]:
    """Return the half-open ranges of time keys for which an entry has data: its range without the gaps in its header.

    An entry that is knowingly incomplete counts for its whole range.
    """
    if entry.time_start is None or entry.time_end is None:
        return []
    gaps = () if entry.excerpt else (entry.header or {}).get("time_gaps", ())
    edges = [entry.time_start, *(key for gap in gaps for key in gap), entry.time_end]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]


def calendar_of(entry: Entry) -> str:
    """Return the calendar of an entry's time axis; ``standard`` without a header."""
    coords: Iterable[dict[str, Any]] = (entry.header or {}).get("coords", {}).values()
    calendars = (c["attrs"].get("calendar") for c in coords if "since" in str(c.get("attrs", {}).get("units", "")))
    return str(next(filter(None, calendars), "standard"))


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
