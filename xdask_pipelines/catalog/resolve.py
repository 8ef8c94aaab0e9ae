"""Resolving a request to exactly the requested entries, or to an error that lists missing or ambiguous ones.

Belongs here: the rule "each exactly once", and its error messages. Does not belong here: storage (backends).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

from xdask_pipelines.catalog.backend import Backend, Query
from xdask_pipelines.catalog.entry import FIELDS, Entry
from xdask_pipelines.catalog.query import refuse_unwritable
from xdask_pipelines.catalog.series import (
    TIME_FACETS,
    Joined,
    are_replicas,
    calendar_of,
    join_in_time,
    replica_difference,
    time_pieces,
)
from xdask_pipelines.catalog.series import Replicas as Replicas
from xdask_pipelines.catalog.times import Time, carried, ends_late, period_text, range_of, time_range, time_text
from xdask_pipelines.errors import AmbiguousEntries, CatalogError, MissingEntries
from xdask_pipelines.system.quoting import in_python

_SHOWN = 8  # values or entries in a message; the error's attributes have all


def resolve(
    backend: Backend,
    fixed: Mapping[str, str],
    time: Time | None,
    times: Sequence[str] | None,
    each: Mapping[str, Sequence[str]],
) -> list[tuple[str, Replicas]]:
    """Return the candidates of `Catalog.resolve`: each requested item as text, and its replicas.

    ``fixed`` has the dataset and the other facets. Errors are those of `Catalog.resolve`, except that several replicas
    are allowed.
    """
    _check(fixed, time, times, each)
    terms = {**{name: (value,) for name, value in fixed.items()}, **{n: tuple(values) for n, values in each.items()}}
    refuse_unwritable(terms)
    periods = [(text, *time_range(text)) for text in times] if times is not None else [None]
    whole = range_of(time) if time is not None else None
    spans = [whole] if whole else [period[1:] for period in periods if period is not None]
    entries = backend.search(_query(terms, (min(s for s, _ in spans), max(e for _, e in spans)) if spans else None))
    asked = [dict(zip(each, values, strict=True)) for values in product(*each.values())]
    by_values: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        entry_terms = entry.terms()
        by_values.setdefault(tuple(entry_terms[name] for name in each), []).append(entry)

    chosen: list[tuple[str, Replicas]] = []
    missing: list[str] = []
    ambiguous: dict[str, list[Entry]] = {}
    for values in asked:
        candidates = by_values.get(tuple(values.values()), [])
        if whole:
            joined = join_in_time(candidates, *whole)
            words = {**fixed, **values}
            chosen += [(_words({**words, "time": text}), replicas) for text, replicas in joined.parts]
            missing += [_words({**words, "time": text}) for text in joined.holes]
            if joined.overlapping:
                ambiguous[_words({**words, "time": _time_words(time)})] = list(joined.overlapping)
            continue
        for period in periods:
            fitting = [entry for entry in candidates if period is None or _covers(entry, period[1], period[2])]
            wanted = {**fixed, **values, **({"time": period[0]} if period else {})}
            if fitting and are_replicas(fitting) and not replica_difference(fitting):
                chosen.append((_words(wanted), tuple(sorted(fitting, key=lambda entry: entry.region))))
            elif fitting:
                ambiguous[_words(wanted)] = fitting
            else:
                missing.append(_words(wanted))
    if missing:
        available = backend.search(_query(terms))
        hint = what_there_is(backend, terms, available)
        if times is not None and len(asked) == 1:
            hint += _joined_hint(available, times)
        raise MissingEntries(f"The catalog does not have {_some(missing, '; ')}. {hint}", missing=tuple(missing))
    if ambiguous:
        raise _ambiguity(ambiguous, joining=bool(whole))
    return chosen


def nearest(found: Iterable[tuple[str, Replicas]], near: Sequence[str]) -> list[Entry]:
    """Return the replica of each item in the first Region of ``near`` that has one, each entry once.

    Raises
    ------
    AmbiguousEntries
        If an item has several replicas, and none is in a Region of ``near``.
    """
    if isinstance(near, str) or len(set(near)) != len(near):
        raise CatalogError(f"near = {near!r} must be a list of different Regions, cheapest first")
    chosen: dict[str, Entry] = {}
    for words, replicas in found:
        held = {entry.region: entry for entry in replicas}
        region = replicas[0].region if len(held) == 1 else next((r for r in near if r in held), None)
        if region is None:
            what = f"near has none of them: {', '.join(near)}" if near else "these are replicas"
            raise AmbiguousEntries(
                f"{words} is in {' and '.join(held)}; {what}. Pass one region, or near: a list of Regions, "
                f"cheapest first",
                candidates=tuple(map(str, replicas)),
            )
        chosen[held[region].id] = held[region]
    return list(chosen.values())


def _check(
    fixed: Mapping[str, str], time: Time | None, times: Sequence[str] | None, each: Mapping[str, Sequence[str]]
) -> None:
    if time is not None and times is not None:
        raise CatalogError(
            f"time = {time!r} and times = {times!r} cannot be combined; pass time for a period or a range, or times for a "
            f"list of separate periods"
        )
    if isinstance(times, tuple) and len(times) == 2:
        raise CatalogError(
            f"times = {times!r} is a tuple of two; times is a list of separate periods; for a range write time={times!r}, "
            f"for only these two times={list(times)!r}"
        )
    if not isinstance(each, Mapping):
        raise CatalogError(f"each = {each!r} is not a mapping; write each={{'member_id': ['r1i1p1f1', 'r2i1p1f1']}}")
    if word := next((name for name in ("time", "times") if name in each), None):
        raise CatalogError(f"each names {word}; write times={list(each[word])!r}, without each")
    for name, value in fixed.items():
        if not isinstance(value, str):
            raise CatalogError(
                f"{name} = {value!r} is not a single text; for several values write each={{{name!r}: […]}}"
            )
    for name, values in {**each, **({"times": times} if times is not None else {})}.items():
        if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
            also = f"; for one period write time={values!r}" if name == "times" and isinstance(values, str) else ""
            raise CatalogError(f"{name} = {values!r} must be a list of at least one value{also}")
        if wrong := [value for value in values if not isinstance(value, str)]:
            raise CatalogError(f"{name} holds {wrong[0]!r}, which is not text; write it in quotes")
        if len(set(values)) != len(values):
            raise CatalogError(f"{name} has a value twice: {', '.join(values)}; write each once")
    if twice := sorted(set(fixed) & set(each)):
        raise CatalogError(f"{', '.join(twice)} is given both as one value and in each; keep one")


def _covers(entry: Entry, start: int, end: int) -> bool:
    """Return whether an entry covers a whole period and has data of it. Missing steps are found when it is opened."""
    if entry.time_start is None or entry.time_end is None or not entry.time_start <= start < end:
        return False
    if end > entry.time_end and (
        not ends_late(entry.time_end)  # nearly always true, and avoids 3 us for the calendar
        or carried(end, calendar_of(entry)) > carried(entry.time_end, calendar_of(entry))
    ):
        return False
    return any(first < end and start < last for first, last in time_pieces(entry))


def _time_words(time: Time | None) -> str:
    return time if isinstance(time, str) else " to ".join(time or ())


def _joined_hint(entries: Sequence[Entry], times: Sequence[str]) -> str:
    """Return a hint for periods that only several entries together cover."""
    whole = [t for t in times if not any(_covers(e, *time_range(t)) for e in entries)]
    together = [t for t in whole if _is_whole(join_in_time(_overlapping(entries, *time_range(t)), *time_range(t)))]
    if not together:
        return ""
    return (
        f" No single entry covers {_some(together)}, but several together do: write time={together[0]!r} to join them."
    )


def _is_whole(joined: Joined) -> bool:
    return not joined.holes and not joined.overlapping


def _overlapping(entries: Iterable[Entry], start: int, end: int) -> list[Entry]:
    return [e for e in entries if e.time_start is not None and e.time_start < end and start < (e.time_end or 0)]


def _words(wanted: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value if name == 'time' else in_python(value)}" for name, value in wanted.items())


def _some(items: Iterable[str], separator: str = ", ") -> str:
    listed = list(items)
    more = f"{separator}and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return separator.join(listed[:_SHOWN]) + more


def _query(terms: Mapping[str, tuple[str, ...]], time: tuple[int, int] | None = None) -> Query:
    return Query(terms=terms, time=time, superseded="version" in terms)


def what_there_is(
    backend: Backend,
    terms: Mapping[str, tuple[str, ...]],
    found: Sequence[Entry],
    quoted: Callable[[str], str] = in_python,
) -> str:
    """Return a hint for the user: available entries, and those with one condition left out. Never used to choose entries.

    ``quoted`` formats a value so that it can be typed again.
    """
    if not backend.names():
        return "It is empty. Run `xdask sync`."
    hints = []
    if found:
        texts = [f"{time_text(start)} until before {time_text(end)}" for start, end in _spans(found)]
        hints.append(f"It has {len(found)} of these, " + (_some(texts) if texts else "without a known time"))
    for name, asked in terms.items():
        if found and len(asked) == 1:
            continue
        rest = {other: values for other, values in terms.items() if other != name}
        if values := backend.facets([name], _query(rest))[name]:
            hints.append(f"With the other conditions, available values of {name} are {_some(map(quoted, values))}")
        elif like := backend.search(Query(terms=rest, superseded="version" in rest, limit=1)):
            others = ", ".join(map(quoted, sorted(like[0].terms())))
            hints.append(f"With the other conditions, entries have no {name}; they have {others}")
    nothing = "No change of a single value gives a match. See the available values with `xdask catalog facets`"
    return ". ".join(hints or [nothing]) + "."


def _spans(entries: Iterable[Entry]) -> list[tuple[int, int]]:
    """Return the time ranges of the entries, joining those that touch or overlap."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(piece for entry in entries for piece in time_pieces(entry)):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _ambiguity(ambiguous: Mapping[str, Sequence[Entry]], *, joining: bool) -> AmbiguousEntries:
    wanted, entries = next(iter(ambiguous.items()))
    if are_replicas(entries):
        regions = " or ".join(f"region={e.region!r}" for e in entries)
        return AmbiguousEntries(
            f"{wanted} is in {' and '.join(e.region for e in entries)}, but the copies differ: "
            f"{replica_difference(entries)}. A result would depend on the copy. Pass {regions}, or copy the right one "
            "over the other and run `xdask sync`",
            candidates=tuple(map(str, entries)),
        )
    terms = [entry.terms() for entry in entries]
    names = dict.fromkeys(name for name in (*FIELDS, *(n for t in terms for n in t)) if name != "key")
    if joining:  # parts of a range always differ in these
        names = {name: None for name in names if name not in TIME_FACETS}
    differing = {
        name: values
        for name in names
        if any(name in e.facets or name in FIELDS for e in entries)
        and len(values := sorted({in_python(t[name]) if name in t else "(none)" for t in terms})) > 1
    } or {"key": sorted(in_python(t["key"]) for t in terms)}
    most_telling = sorted(differing.items(), key=lambda item: -len(item[1]))
    settle = "; ".join(f"{name}: {_some(values)}" for name, values in most_telling)
    candidates = tuple(str(entry) for fitting in ambiguous.values() for entry in fitting)
    others = f" (and {len(ambiguous) - 1} more requests match several)" if len(ambiguous) > 1 else ""
    return AmbiguousEntries(
        f"{wanted} matches {len(entries)} entries{others}: {_some(map(str, entries))}. Pass one value of {settle}"
        + ("" if joining else _all_of(entries)),
        candidates=candidates,
    )


def _all_of(entries: Sequence[Entry]) -> str:
    """Return a hint how to join entries that are consecutive in time."""
    spans = _spans(entries)
    if len(spans) != 1 or not _is_whole(join_in_time(entries, *spans[0])):
        return ""
    first, _, last = period_text(*spans[0], calendar_of(entries[0])).partition(" to ")
    if "until" in first:
        return ""
    return f". To join all of them in time, write time={(first, last) if last else first!r}"
