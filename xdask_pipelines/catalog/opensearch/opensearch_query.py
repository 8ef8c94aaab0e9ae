"""Queries in OpenSearch, and filters for the documents that are valid in one generation.

Belongs here: the mapping, and filters. Does not belong here: requests (opensearch_index), changes (opensearch_write).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xdask_pipelines.catalog.backend import Query
from xdask_pipelines.catalog.entry import FIELDS, MARK, Entry
from xdask_pipelines.catalog.extent import TURNS
from xdask_pipelines.catalog.opensearch.opensearch_head import Head

#: Last generation of a document that has not expired.
OPEN = 2**62
#: Sort order of entries.
SORTING = ("dataset", "region", "key", "part")
#: Names with a separate field. All others are in ``terms``, the most expensive field to index (20 us for each entry).
_OWN = frozenset({"dataset", "region", "key"})
_KEYWORD = {"type": "keyword"}
_KEPT = {"type": "keyword", "index": False, "doc_values": False}
_LONG = {"type": "long"}
_DEGREES = {"type": "double", "doc_values": False}
_FIELD_KINDS = {name: f"field{MARK}{name}" for name in FIELDS}
_BOX = ("west", "south", "east", "north")
#: One mapping for entries, tombstones and pieces of manifests, which ``kind`` distinguishes. Unknown fields are
#: refused.
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        **dict.fromkeys(("kind", "id", *SORTING, "series", "terms", "names"), _KEYWORD),
        **dict.fromkeys(("version", "digest", "document"), _KEPT),
        **dict.fromkeys(("from", "until", "time_start", "time_end"), _LONG),
        **dict.fromkeys(_BOX, _DEGREES),
        "generation": {"type": "long", "index": False},
        # Size of ``document`` or ``rows``. Sizes differ by a factor of a thousand, so readers choose pages by it.
        "bytes": {"type": "long", "index": False},
        "superseded": {"type": "boolean"},
        "rows": {"type": "binary"},
    },
}


def entry_fields(entry: Entry, *, series: str, superseded: bool, generation: int) -> dict[str, Any]:
    """Return the fields of an entry's document, without the generations in which it is valid."""
    terms = entry.terms()
    document = entry.to_json()
    kinds = [_FIELD_KINDS.get(n) or f"{'facet' if n in entry.facets else 'attribute'}{MARK}{n}" for n in terms]
    fields = {
        "kind": "entry",
        "id": entry.id,
        "dataset": entry.dataset,
        "region": entry.region,
        "key": entry.key,
        "part": entry.part,
        "series": series,
        "version": entry.version,
        "superseded": superseded,
        "time_start": entry.time_start,
        "time_end": entry.time_end,
        "digest": entry.digest,
        "generation": generation,
        "terms": [f"{name}{MARK}{value}" for name, value in terms.items() if name not in _OWN],
        # One value for all names, because few sets of names occur: one value for each name would cost 15 us for each
        # entry.
        "names": MARK.join(kinds),
        "document": document,
        "bytes": len(document.encode()),
    }
    if entry.extent is not None:
        fields |= zip(_BOX, entry.extent, strict=True)
    return fields


def kinds_of(names: str) -> dict[str, str]:
    """Return names and their kinds from a value of ``names``."""
    parts = names.split(MARK)
    return dict(zip(parts[1::2], parts[::2], strict=True))


def true_at(head: Head, kind: str, generation: int | None = None) -> list[dict[str, Any]]:
    """Return filters for the documents of a kind that are valid in a generation, by default that of the head."""
    at = head.generation if generation is None else generation
    filters: list[dict[str, Any]] = [{"term": {"kind": kind}}, {"range": {"from": {"lte": at}}}]
    if not head.aborted:
        return [*filters, {"range": {"until": {"gt": at}}}]
    dead = list(head.aborted)
    return [
        *filters,
        {"bool": {"must_not": {"terms": {"from": dead}}}},
        any_of([{"range": {"until": {"gt": at}}}, {"terms": {"until": dead}}]),
    ]


def matching(head: Head, query: Query) -> dict[str, Any]:
    """Return the filter for the entries of a query."""
    filters = true_at(head, "entry")
    for name, values in query.terms.items():
        if name in _OWN:
            filters.append({"terms": {name: list(values)}})
        else:
            filters.append({"terms": {"terms": [f"{name}{MARK}{value}" for value in values]}})
    if not query.superseded:
        filters.append({"term": {"superseded": False}})
    if query.time is not None:
        start, end = query.time
        filters += [{"range": {"time_start": {"lt": end}}}, {"range": {"time_end": {"gt": start}}}]
    if query.bbox is not None:
        west, south, east, north = query.bbox
        shared = [
            {"bool": {"filter": [{"range": {"west": {"lte": east + t}}}, {"range": {"east": {"gte": west + t}}}]}}
            for t in TURNS
        ]
        filters += [{"range": {"south": {"lte": north}}}, {"range": {"north": {"gte": south}}}, any_of(shared)]
    return {"bool": {"filter": filters}}


def garbage(head: Head) -> dict[str, Any]:
    """Return the filter for documents that will never be valid again: expired by ``purged``, or of an aborted commit.

    Documents whose end was set by an aborted commit have not expired.
    """
    dead = {"terms": {"from": list(head.aborted)}}
    undone = {"terms": {"until": list(head.aborted)}}
    return any_of([{"bool": {"filter": [{"range": {"until": {"lte": head.purged}}}], "must_not": [undone]}}, dead])


def any_of(filters: Sequence[Any]) -> dict[str, Any]:
    """Return a filter for documents that pass any of several filters."""
    return {"bool": {"should": list(filters), "minimum_should_match": 1}}


def of_place(dataset: str, region: str) -> list[dict[str, Any]]:
    """Return filters for documents of (dataset, Region)."""
    return [{"term": {"dataset": dataset}}, {"term": {"region": region}}]


def values_of(name: str, size: int) -> dict[str, Any]:
    """Return the aggregation that counts the values of one name."""
    if name in _OWN:
        return {"terms": {"field": name, "size": size}}
    escaped = re.sub(r'([.?+*|{}\[\]()"\\#@&<>~^$-])', r"\\\1", name)
    return {"terms": {"field": "terms", "include": f"{escaped}{MARK}.*", "size": size}}


def counts_of(name: str, buckets: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return values and counts from the answer to :func:`values_of`, sorted."""
    start = 0 if name in _OWN else len(name) + 1
    return dict(sorted((bucket["key"][start:], int(bucket["doc_count"])) for bucket in buckets))
