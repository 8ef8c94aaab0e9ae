"""Runs of models: the entries of each run of an ensemble, and of the run from which a scenario starts.

Belongs here: grouping entries by run, and finding parents by CMIP6's attributes. Does not belong here: requests for single
entries (``resolve``), opening and averaging (``access``, ``climate``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xdask_pipelines.catalog.backend import Query
from xdask_pipelines.catalog.catalog import Catalog
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.query import refuse_unwritable
from xdask_pipelines.catalog.resolve import what_there_is
from xdask_pipelines.catalog.series import Replicas, join_in_time
from xdask_pipelines.catalog.times import Time, period_text, range_of
from xdask_pipelines.errors import AmbiguousEntries, CatalogError, MissingEntries
from xdask_pipelines.system.quoting import in_python

#: Facets that distinguish the runs of an ensemble in CMIP6.
RUN = ("source_id", "member_id")
_KEPT = ("institution_id", "source_id", "table_id", "variable_id", "grid_label")  # what a run shares with its parent
_NO_PARENT = ("", "no parent", "N/A", "none")


@dataclass(frozen=True)
class Segment:
    """A part of a run: consecutive entries, and the half-open range of time keys that is used of them (None: all)."""

    parts: tuple[Replicas, ...]
    period: tuple[int, int] | None = None


def find_runs(
    catalog: Catalog,
    *,
    dataset: str,
    by: Sequence[str] = RUN,
    time: Time | None = None,
    with_parent: bool = False,
    **facets: str | Sequence[str],
) -> dict[tuple[str, ...], tuple[Segment, ...]]:
    """Find the runs that match, and the entries of each in order of time.

    Parameters
    ----------
    catalog
        Where to look.
    dataset
        Name of the dataset.
    by
        Facets whose values distinguish runs.
    time
        One period or a range of two, both included, which each run must cover; None takes all that a run has.
    with_parent
        Put the run from which each run starts before it: by its attributes ``parent_experiment_id`` and
        ``parent_variant_label``, else the run ``historical`` of the same member. The parent's data end where the run
        begins.
    **facets
        One value, or a list of which every value must occur.

    Returns
    -------
    By the values of ``by``, sorted: the segments of each run, the parent's first.

    Raises
    ------
    MissingEntries
        If no run matches, a listed value does not occur, a run has gaps or does not cover ``time``, or a parent is missing.
    AmbiguousEntries
        If a run matches several entries of the same time, such as two grids; the message names what distinguishes them.
    """
    lists = {name: [values] if isinstance(values, str) else list(values) for name, values in facets.items()}
    if not by or any(not values for values in lists.values()):
        raise CatalogError("runs are distinguished by at least one facet, and each list of values needs at least one")
    terms = {"dataset": (dataset,), **{name: tuple(values) for name, values in lists.items()}}
    refuse_unwritable(terms)
    span = range_of(time) if time is not None else None
    found = catalog.backend.search(Query(terms=terms, time=None, superseded="version" in terms))
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in found:
        values = entry.terms()
        if lacking := [name for name in by if name not in values]:
            raise CatalogError(
                f"{entry} has no {lacking[0]}, by which runs would be distinguished; it has {', '.join(values)}"
            )
        groups.setdefault(tuple(values[name] for name in by), []).append(entry)
    words = " ".join(f"{name}={in_python(v[0]) if len(v) == 1 else v}" for name, v in terms.items())
    seen = [entry.terms() for entry in found]
    absent = [f"{n}={in_python(v)}" for n, values in lists.items() for v in values if all(t.get(n) != v for t in seen)]
    if absent or not groups:
        raise MissingEntries(
            f"The catalog has no run of {words}"
            + (f": {', '.join(absent)} is missing. " if found else ". ")
            + what_there_is(catalog.backend, terms, found),
            missing=tuple(absent) or (words,),
        )
    return {
        key: _segments(catalog, words if tuple(by) == ("dataset",) else _name(by, key), entries, span, with_parent)
        for key, entries in sorted(groups.items())
    }


def _name(by: Sequence[str], key: Sequence[str]) -> str:
    return " ".join(f"{name}={in_python(value)}" for name, value in zip(by, key, strict=True))


def _segments(
    catalog: Catalog, name: str, entries: list[Entry], span: tuple[int, int] | None, with_parent: bool
) -> tuple[Segment, ...]:
    """Return the segments of one run."""
    if any(entry.time_start is None for entry in entries):
        if with_parent or span:
            raise CatalogError(f"{name}: {entries[0]} has no known time, so no period of it can be chosen")
        return (Segment((_replicas_of_one(name, entries),)),)
    start = min(int(entry.time_start or 0) for entry in entries)
    end = max(int(entry.time_end or 0) for entry in entries)
    first, last = span or (start, end)
    own = Segment(_joined(name, entries, max(first, start) if with_parent else first, last), span and (first, last))
    if not with_parent or (span and first >= start):
        return (own,)
    parent_name, before = _parent(catalog, name, entries[0])
    begin = first if span else min(int(entry.time_start or 0) for entry in before)
    used = [entry for entry in before if int(entry.time_start or 0) < start and int(entry.time_end or 0) > begin]
    parent = Segment(_joined(parent_name, used, begin, start), (begin, start))
    return parent, Segment(own.parts, (start, last) if span else None)


def _joined(name: str, entries: Sequence[Entry], start: int, end: int) -> tuple[Replicas, ...]:
    """Return the entries that cover a range exactly once."""
    within = [e for e in entries if int(e.time_start or 0) < end and int(e.time_end or 0) > start]
    joined = join_in_time(within, start, end)
    if joined.overlapping:
        raise AmbiguousEntries(
            f"{name} matches several entries of the same time: {_differing(joined.overlapping)}. Choose one value",
            candidates=tuple(map(str, joined.overlapping)),
        )
    if joined.holes or not joined.parts:
        missing = joined.holes or (period_text(start, end),)
        raise MissingEntries(
            f"{name} lacks {', '.join(missing[:5])}. Choose another period, leave the run out, or sync the dataset",
            missing=tuple(f"{name} time={hole}" for hole in missing),
        )
    return tuple(replicas for _, replicas in joined.parts)


def _replicas_of_one(name: str, entries: Sequence[Entry]) -> Replicas:
    if len({entry.region for entry in entries}) != len(entries):
        raise AmbiguousEntries(
            f"{name} matches {len(entries)} entries: {_differing(entries)}. Choose one value",
            candidates=tuple(map(str, entries)),
        )
    return tuple(sorted(entries, key=lambda entry: entry.region))


def _differing(entries: Sequence[Entry]) -> str:
    terms = [entry.terms() for entry in entries]
    names = [name for name in dict.fromkeys(n for t in terms for n in t) if name not in ("key", "region")]
    values = {name: sorted({t.get(name, "(none)") for t in terms}) for name in names}
    return "; ".join(f"{n}: {', '.join(map(in_python, v))}" for n, v in values.items() if len(v) > 1) or str(
        entries[0].key
    )


def _parent(catalog: Catalog, name: str, entry: Entry) -> tuple[str, list[Entry]]:
    """Return the name and the entries of the run from which a run starts."""
    attrs: Mapping[str, Any] = (entry.header or {}).get("attrs", {})
    facets = entry.facets
    experiment = str(attrs.get("parent_experiment_id", ""))
    member = str(attrs.get("parent_variant_label", ""))
    stated = experiment not in _NO_PARENT and member not in _NO_PARENT
    if not stated:
        experiment, member = "historical", str(facets.get("member_id", ""))
    if facets.get("experiment_id") == experiment:
        raise MissingEntries(
            f"{name} is of {experiment!r} itself and starts from no other run that is known", missing=(name,)
        )
    same = {
        n: v for n, v in facets.items() if n in ("institution_id", "source_id", "table_id", "variable_id", "grid_label")
    }
    if stated and (source := str(attrs.get("parent_source_id", ""))) not in _NO_PARENT:
        same["source_id"] = source
    wanted = {"dataset": entry.dataset, **same, "experiment_id": experiment, "member_id": member}
    terms = {key: (value,) for key, value in wanted.items()}
    found = [each for each in catalog.backend.search(Query(terms=terms)) if each.time_start is not None]
    if not found:
        how = (
            "as its attributes say"
            if stated
            else "the run historical of the same member, as it has no parent attributes"
        )
        raise MissingEntries(
            f"{name} starts from experiment_id={experiment!r} member_id={member!r} ({how}), which the catalog does not "
            "have. " + what_there_is(catalog.backend, terms, ()),
            missing=(f"experiment_id={experiment} member_id={member}",),
        )
    return f"{name} (parent {experiment} {member})", found
