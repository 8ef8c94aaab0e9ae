"""From a request to exactly the entries it names, or to an error that lists what is missing or ambiguous.

Belongs here: the rule "each exactly once", and the words of its refusals. Does not belong here: storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from xdask_pipelines.catalog.backend import Backend, Query
from xdask_pipelines.catalog.entry import FIELDS, Entry
from xdask_pipelines.catalog.times import time_range, time_text
from xdask_pipelines.errors import AmbiguousEntries, CatalogError, MissingEntries

_SHOWN = 8  # values or entries that a message spells out; the error's attributes hold all


Replicas = tuple[Entry, ...]  # of one thing: one entry a Region, sorted by Region


def resolve(
    backend: Backend, fixed: Mapping[str, str], times: Sequence[str] | None, each: Mapping[str, Sequence[str]]
) -> list[tuple[str, Replicas]]:
    """What `Catalog.resolve` chooses from: the words that ask for each thing, and its replicas.

    ``fixed`` is the dataset and the other facets. Errors as there, but for things that only lie in several Regions.
    """
    _check(fixed, times, each)
    terms = {**{name: (value,) for name, value in fixed.items()}, **{n: tuple(values) for n, values in each.items()}}
    periods = [(text, *time_range(text)) for text in times] if times is not None else [None]
    spans = [period[1:] for period in periods if period is not None]
    found = backend.search(_query(terms, (min(s for s, _ in spans), max(e for _, e in spans)) if spans else None))
    asked = [dict(zip(each, values, strict=True)) for values in product(*each.values())]
    by_values: dict[tuple[str, ...], list[Entry]] = {}
    for entry in found:
        its = entry.terms()
        by_values.setdefault(tuple(its[name] for name in each), []).append(entry)

    chosen: list[tuple[str, Replicas]] = []
    missing: list[str] = []
    ambiguous: dict[str, list[Entry]] = {}
    for values in asked:
        candidates = by_values.get(tuple(values.values()), [])
        for period in periods:
            fitting = [entry for entry in candidates if period is None or _covers(entry, period[1], period[2])]
            wanted = {**fixed, **values, **({"time": period[0]} if period else {})}
            if fitting and are_replicas(fitting):
                chosen.append((_words(wanted), tuple(sorted(fitting, key=lambda entry: entry.region))))
            elif fitting:
                ambiguous[_words(wanted)] = fitting
            else:
                missing.append(_words(wanted))
    if missing:
        hint = what_there_is(backend, terms, backend.search(_query(terms)))
        raise MissingEntries(f"The catalog does not hold {_some(missing, '; ')}. {hint}", missing=tuple(missing))
    if ambiguous:
        raise _ambiguity(ambiguous)
    return chosen


def are_replicas(entries: Sequence[Entry]) -> bool:
    """Whether entries are one thing, each in a Region of its own; their paths may differ."""
    same = {
        (
            e.dataset,
            e.layout,
            e.variable,
            e.version,
            e.part,
            e.time_start,
            e.time_end,
            e.excerpt,
            *sorted(e.facets.items()),
        )
        for e in entries
    }
    return len(same) == 1 and len({entry.region for entry in entries}) == len(entries)


def nearest(found: Iterable[tuple[str, Replicas]], near: Sequence[str]) -> list[Entry]:
    """Of each thing the replica in the first Region of ``near`` that holds it, each entry once.

    Raises
    ------
    AmbiguousEntries
        A thing has replicas, and none of them is in a Region of ``near``.
    """
    if isinstance(near, str) or len(set(near)) != len(near):
        raise CatalogError(f"near = {near!r} must be a list of Regions, each once, from the cheapest to the dearest")
    chosen: dict[str, Entry] = {}
    for words, replicas in found:
        held = {entry.region: entry for entry in replicas}
        region = replicas[0].region if len(held) == 1 else next((r for r in near if r in held), None)
        if region is None:
            what = f"near names none of them: {', '.join(near)}" if near else "they are replicas of one thing"
            raise AmbiguousEntries(
                f"{words} is held in {' and '.join(held)}; {what}. Name one region, or give near: the Regions from the "
                f"cheapest to the dearest for what reads them",
                candidates=tuple(map(str, replicas)),
            )
        chosen[held[region].id] = held[region]
    return list(chosen.values())


def _check(fixed: Mapping[str, str], times: Sequence[str] | None, each: Mapping[str, Sequence[str]]) -> None:
    for name, value in fixed.items():
        if not isinstance(value, str):
            raise CatalogError(
                f"{name} = {value!r} is not one text; ask for several values with each={{{name!r}: […]}}"
            )
    for name, values in {**each, **({"times": times} if times is not None else {})}.items():
        if isinstance(values, str) or not values:
            raise CatalogError(f"{name} = {values!r} must be a list of at least one value")
        if len(set(values)) != len(values):
            raise CatalogError(f"{name} names a value twice: {', '.join(values)}; name each once")
    if twice := sorted(set(fixed) & set(each)):
        raise CatalogError(f"{', '.join(twice)} is given both as one value and in each; keep one")


def _covers(entry: Entry, start: int, end: int) -> bool:
    return (
        entry.time_start is not None
        and entry.time_end is not None
        and entry.time_start <= start < end <= entry.time_end
    )


def _words(wanted: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in wanted.items())


def _some(items: Iterable[str], separator: str = ", ") -> str:
    listed = list(items)
    more = f"{separator}and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return separator.join(listed[:_SHOWN]) + more


def _query(terms: Mapping[str, tuple[str, ...]], time: tuple[int, int] | None = None) -> Query:
    return Query(terms=terms, time=time, superseded="version" in terms)


def what_there_is(backend: Backend, terms: Mapping[str, tuple[str, ...]], found: Sequence[Entry]) -> str:
    """Help for the reader: what is there, and what would be with one condition left out. Never used to choose."""
    if not backend.names():
        return "It is empty: run xdask sync."
    hints = []
    if found:
        texts = [f"{time_text(start)} until before {time_text(end)}" for start, end in _spans(found)]
        hints.append(f"It holds {len(found)} of these, " + (_some(texts) if texts else "without a known time"))
    for name, asked in terms.items():
        if found and len(asked) == 1:
            continue
        rest = {other: values for other, values in terms.items() if other != name}
        if values := backend.facets([name], _query(rest))[name]:
            hints.append(f"With the rest as asked, {name} could be {_some(values)}")
        elif like := backend.search(Query(terms=rest, superseded="version" in rest, limit=1)):
            hints.append(
                f"With the rest as asked, entries have no {name}; they have {', '.join(sorted(like[0].terms()))}"
            )
    return ". ".join(hints or ["No other value of any one name would do; look with xdask catalog facets"]) + "."


def _spans(entries: Iterable[Entry]) -> list[tuple[int, int]]:
    """Time ranges of the entries, with those that touch or overlap joined."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(
        (e.time_start, e.time_end) for e in entries if e.time_start is not None and e.time_end is not None
    ):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _ambiguity(ambiguous: Mapping[str, Sequence[Entry]]) -> AmbiguousEntries:
    wanted, entries = next(iter(ambiguous.items()))
    terms = [entry.terms() for entry in entries]
    names = dict.fromkeys(name for name in (*FIELDS, *(n for t in terms for n in t)) if name != "key")
    differing = {
        name: values
        for name in names
        if any(name in e.facets or name in FIELDS for e in entries)
        and len(values := sorted({t.get(name, "(none)") for t in terms})) > 1
    } or {"key": sorted(t["key"] for t in terms)}
    most_telling = sorted(differing.items(), key=lambda item: -len(item[1]))
    settle = "; ".join(f"{name}: {_some(values)}" for name, values in most_telling)
    candidates = tuple(str(entry) for fitting in ambiguous.values() for entry in fitting)
    others = f" (and {len(ambiguous) - 1} more requests fit several)" if len(ambiguous) > 1 else ""
    return AmbiguousEntries(
        f"{wanted} fits {len(entries)} entries{others}: {_some(map(str, entries))}. Name one value of {settle}",
        candidates=candidates,
    )
