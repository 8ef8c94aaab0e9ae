"""What a query means to OpenSearch, and which of its documents are true at one generation.

Belongs here: the mapping, and filters over it. Does not belong here: requests, or any change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from xdask_pipelines.catalog.backend import Query
from xdask_pipelines.catalog.entry import FIELDS, Entry
from xdask_pipelines.catalog.opensearch_head import Head

#: Until when a document holds that nothing has ended.
OPEN = 2**62
#: Between a name and its value in ``terms``, and a kind and its name in ``names``.
MARK = "\x1f"
_KEYWORD = {"type": "keyword"}
_KEPT = {"type": "keyword", "index": False, "doc_values": False}
_LONG = {"type": "long"}
#: One mapping for entries, tombstones and pieces of manifests, told apart by ``kind``. Unknown fields are refused.
MAPPING = {
    "dynamic": "strict",
    "properties": {
        **dict.fromkeys(("kind", "id", "dataset", "region", "key", "part", "series", "terms", "names"), _KEYWORD),
        **dict.fromkeys(("version", "digest", "document"), _KEPT),
        **dict.fromkeys(("from", "until", "time_start", "time_end"), _LONG),
        "generation": {"type": "long", "index": False},
        "superseded": {"type": "boolean"},
        "rows": {"type": "binary"},
    },
}


def entry_fields(entry: Entry, *, superseded: bool, generation: int) -> dict[str, Any]:
    """What the catalog stores and indexes of an entry, but for how long it holds."""
    terms = entry.terms()
    kinds = {name: "field" if name in FIELDS else "facet" if name in entry.facets else "attribute" for name in terms}
    return {
        "kind": "entry",
        "id": entry.id,
        "dataset": entry.dataset,
        "region": entry.region,
        "key": entry.key,
        "part": entry.part,
        "series": entry.series,
        "version": entry.version,
        "superseded": superseded,
        "time_start": entry.time_start,
        "time_end": entry.time_end,
        "digest": entry.digest,
        "generation": generation,
        "terms": [f"{name}{MARK}{value}" for name, value in terms.items() if name != "key"],
        "names": [f"{kind}{MARK}{name}" for name, kind in kinds.items()],
        "document": entry.to_json(),
    }


def true_at(head: Head, kind: str, generation: int | None = None) -> list[dict[str, Any]]:
    """Filters for the documents of a kind that hold at a generation, that of the head if none is given."""
    at = head.generation if generation is None else generation
    filters: list[dict[str, Any]] = [{"term": {"kind": kind}}, {"range": {"from": {"lte": at}}}]
    if not head.aborted:
        return [*filters, {"range": {"until": {"gt": at}}}]
    dead = list(head.aborted)
    return [
        *filters,
        {"bool": {"must_not": {"terms": {"from": dead}}}},
        {"bool": {"should": [{"range": {"until": {"gt": at}}}, {"terms": {"until": dead}}]}},
    ]


def matching(head: Head, query: Query) -> dict[str, Any]:
    """Filter for the entries that a query means."""
    filters = true_at(head, "entry")
    for name, values in query.terms.items():
        if name == "key":
            filters.append({"terms": {"key": list(values)}})
        else:
            filters.append({"terms": {"terms": [f"{name}{MARK}{value}" for value in values]}})
    if not query.superseded:
        filters.append({"term": {"superseded": False}})
    if query.time is not None:
        start, end = query.time
        filters += [{"range": {"time_start": {"lt": end}}}, {"range": {"time_end": {"gt": start}}}]
    return {"bool": {"filter": filters}}


def of_place(dataset: str, region: str) -> list[dict[str, Any]]:
    """Filters for documents of (dataset, Region)."""
    return [{"term": {"dataset": dataset}}, {"term": {"region": region}}]


def values_of(name: str, size: int) -> dict[str, Any]:
    """Aggregation that counts the values of one name."""
    escaped = re.sub(r'([.?+*|{}\[\]()"\\#@&<>~^$-])', r"\\\1", name)
    return {"terms": {"field": "terms", "include": f"{escaped}{MARK}.*", "size": size}}


def sorting() -> Sequence[str]:
    """The order of entries: dataset, Region, key, part."""
    return ("dataset", "region", "key", "part")
