"""Documents in OpenSearch: one index for each Region, reading page by page, and writing in bulk.

Belongs here: requests for documents. Does not belong here: which documents are valid (opensearch_query), the documents
of a commit (opensearch_write).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import orjson
from opensearchpy import OpenSearch

from xdask_pipelines.catalog.opensearch.opensearch_answers import whole
from xdask_pipelines.catalog.opensearch.opensearch_head import Head
from xdask_pipelines.catalog.opensearch.opensearch_node import MAX_BODY_BYTES, PASSING, LostIndex, Node, pause
from xdask_pipelines.catalog.opensearch.opensearch_query import MAPPING
from xdask_pipelines.errors import CatalogError, StaleWriter

PAGE = 10_000
_BULK_TRIES = 8
#: Fields that may be large; all others take some hundred bytes in each document.
_LARGE = frozenset({"document", "rows"})
#: Number of documents up to which their sizes are not requested first.
_FEW = 16
#: Assumed size of documents from older versions without a measured size. Such documents had up to 200 kB, so at most 20
#: MB are read at once.
_UNKNOWN_BYTES = MAX_BODY_BYTES // 100
_SETTINGS = {
    "index": {
        "number_of_shards": 1,
        "auto_expand_replicas": "0-1",
        "refresh_interval": "30s",
        # How long a node remembers the version of a removed document, to refuse older versions from a writer that
        # resumes late. The default of one minute is too short for a laptop in standby.
        "gc_deletes": "1d",
    }
}

Document = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutgoingDocument:
    """A document to be sent: its id, the Region of its index, its title in errors, and its JSON."""

    identity: str
    region: str
    title: str
    body: bytes

    @classmethod
    def of(cls, identity: str, document: Document) -> OutgoingDocument:
        """Prepare a document."""
        title = f"{document['dataset']} {document['region']}:{document['key']}"
        return cls(identity, document["region"], title, orjson.dumps(document))


class Documents:
    """Documents of all Regions in a head's current set of indices."""

    def __init__(self, node: Node, head: Head) -> None:
        self.node, self._room = node, head.room
        self._indices = {region: self.index(region) for region in head.regions()}

    def index(self, region: str) -> str:
        """Name of the index of a Region."""
        name = region if re.fullmatch(r"[a-z0-9-]{1,60}", region) else hashlib.blake2b(region.encode()).hexdigest()[:32]
        return f"{self.node.address.name}-{self._room}-{name}"

    def names(self) -> list[str]:
        """Names of all indices."""
        return list(self._indices.values())

    @property
    def _all(self) -> str:
        return ",".join(self._indices.values())

    # ---- reading ----------------------------------------------------------------------------------------------

    def search(self, body: Mapping[str, Any]) -> Answer:
        """Search, and return an answer without hits if the index does not exist yet."""
        if not self._indices:
            return {"hits": {"hits": []}, "aggregations": {}}
        return self.node.ask(partial(_search, index=self._all, body=dict(body)))

    def count(self, filters: Sequence[Any]) -> int:
        """Return the number of documents that pass all filters."""
        if not self._indices:
            return 0
        body = {"query": {"bool": {"filter": list(filters)}}}
        return self.node.ask(lambda c: int(whole(c.count(index=self._all, body=body))["count"]))

    def found(
        self,
        query: Mapping[str, Any],
        sort: Sequence[str],
        fields: Sequence[str] | bool = True,
        limit: int | None = None,
    ) -> Iterator[Document]:
        """Iterate over the sources of all hits in order, of any number and size.

        The sort order must be unique. Pages need no snapshot: documents of a generation are neither changed nor removed
        before the head changes.
        """
        if limit == 0 or not self._indices:
            return
        body: Document = {"query": dict(query), "sort": list(sort), "track_total_hits": False, "_source": fields}
        if not isinstance(fields, bool) and _LARGE.isdisjoint(fields):
            numbers: Iterable[int] = repeat(PAGE)
        else:
            numbers = [limit] if limit is not None and limit <= _FEW else self._portions(body, limit)
        after, left = None, limit
        for most in numbers:
            number = most if left is None else min(most, left)
            hits = self._page(body, number, after)
            yield from (hit["_source"] for hit in hits)
            left = None if left is None else left - len(hits)
            if len(hits) < number or left == 0:
                return
            after = hits[-1]["sort"]

    def _portions(self, body: Document, limit: int | None) -> Iterator[int]:
        """Iterate over numbers of documents for answers of limited size, from the documents' measured sizes."""
        after, left = None, limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            hits = self._page({**body, "_source": False, "docvalue_fields": ["bytes"]}, size, after)
            yield from portions((hit.get("fields") or {}).get("bytes", [_UNKNOWN_BYTES])[0] for hit in hits)
            if len(hits) < size:
                return
            after, left = hits[-1]["sort"], None if left is None else left - size

    def _page(self, body: Document, size: int, after: list[Any] | None) -> list[Any]:
        found: list[Any] = self.search({**body, "size": size, **({"search_after": after} if after else {})})["hits"][
            "hits"
        ]
        return found

    # ---- writing ----------------------------------------------------------------------------------------------

    def make(self, region: str) -> None:
        """Create the index of a Region, if it is missing; an index that is known to the head must exist."""
        if region in self._indices:
            index = self._indices[region]
            self.node.ask(lambda c: c.indices.get_settings(index=index))  # writing would silently create a new one
        else:
            self.create(region)

    def create(self, region: str) -> None:
        """Create the index of a Region, if it does not exist."""
        index = self.index(region)
        form = {"settings": _SETTINGS, "mappings": {**MAPPING, "_meta": {"catalog": self.node.address.name}}}

        def create(client: OpenSearch) -> None:
            if not client.indices.exists(index=index):
                client.indices.create(index=index, body=form)

        try:
            self.node.ask(create)
        except CatalogError as error:
            if "already exists" not in str(error):
                raise
        self._indices[region] = index

    def write(self, documents: Sequence[OutgoingDocument], version: int) -> None:
        """Write documents with a version in one request; documents with a newer version are not changed.

        Raises
        ------
        StaleWriter
            If a newer version of a document exists.
        CatalogError
            If a document is refused.
        """
        waiting = list(documents)
        for i in range(_BULK_TRIES):
            lines: list[bytes] = []
            for one in waiting:
                at = {"_index": self._indices[one.region], "_id": one.identity}
                lines.append(orjson.dumps({"index": {**at, "version": version, "version_type": "external_gte"}}))
                lines.append(one.body)
            answers = self.node.ask(partial(_bulk, body=b"\n".join([*lines, b""]), number=len(waiting)))
            waiting = [one for one, item in zip(waiting, answers, strict=True) if _again(one, item)]
            if not waiting:
                return
            pause(i)
        raise CatalogError(
            f"The catalog at {self.node.address} is too busy: it rejected {len(waiting)} of {len(documents)} documents "
            f"{_BULK_TRIES} times. Nothing was written; try again later, or give the domain more nodes"
        )

    def refresh(self) -> None:
        """Make all written documents visible to searches."""
        if self._indices:
            self.node.ask(lambda c: whole(c.indices.refresh(index=self._all)))

    def remove(self, query: Mapping[str, Any]) -> None:
        """Start to remove matching documents; the node continues in the background."""
        options = {"conflicts": "proceed", "refresh": "true", "wait_for_completion": "false"}
        body = {"query": dict(query)}
        self.node.ask(lambda c: c.delete_by_query(index=self._all, body=body, params=options)["task"])

    def drop(self) -> None:
        """Remove all existing indices."""
        for index in self.names():
            with suppress(LostIndex):
                self.node.ask(partial(_delete, index=index))


def portions(sizes: Iterable[int]) -> Iterator[int]:
    """Iterate over numbers of consecutive documents whose total size is at most `MAX_BODY_BYTES`; each is at least 1."""
    number = total = 0
    for size in sizes:
        if number and total + size > MAX_BODY_BYTES:
            yield number
            number = total = 0
        number, total = number + 1, total + size
    if number:
        yield number


def _search(client: OpenSearch, index: str, body: Document) -> Answer:
    answer = whole(client.search(index=index, body=body, params={"allow_partial_search_results": "false"}))
    hits = answer["hits"]["hits"]
    counts = answer.get("aggregations", {})
    for name in ("_source", "sort"):
        if body.get(name) and any(hit.get(name) is None for hit in hits):
            raise ValueError(f"hits without {name}")
    for name in body.get("aggs", ()):
        if counts.get(name, {}).get("buckets") is None:
            raise ValueError(f"no counts of {name}")
    return {"aggregations": counts, "hits": {"hits": hits}}


def _bulk(client: OpenSearch, body: bytes, number: int) -> list[Answer]:
    """Return the result for each document."""
    answer = client.bulk(body=body, params={"filter_path": "items.*.status,items.*.error"})
    items = [{**item["index"], "status": int(item["index"]["status"])} for item in answer["items"]]
    if len(items) != number:
        raise ValueError(f"{len(items)} answers to {number} documents")
    return items


def _delete(client: OpenSearch, index: str) -> Answer:
    return dict(client.indices.delete(index=index))


def _again(one: OutgoingDocument, answer: Mapping[str, Any]) -> bool:
    """Return whether a document of a bulk request must be sent again; raise if it will never be accepted."""
    status = answer["status"]
    if status < 300:
        return False
    if status in PASSING:
        return True
    if status == 409:
        raise StaleWriter("A newer commit wrote the same documents. Start again from the current catalog")
    reason = answer.get("error", {}).get("reason", status)
    raise CatalogError(f"The catalog refuses {one.title}: {reason}. Nothing was written; fix that entry and try again")
