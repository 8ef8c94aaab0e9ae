"""Documents in OpenSearch: one index a Region; finding them page by page, writing them in bulk.

Belongs here: requests about documents. Does not belong here: which documents are true (query), or what a commit writes.
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
#: Fields that may be large; all others take some hundred bytes a document.
_LARGE = frozenset({"document", "rows"})
#: So few documents are asked for without measuring them first.
_FEW = 16
#: Of a document that a version wrote which did not measure it: of 200 kB each, which there were, 20 MB are read at once.
_UNKNOWN_BYTES = MAX_BODY_BYTES // 100
_SETTINGS = {
    "index": {
        "number_of_shards": 1,
        "auto_expand_replicas": "0-1",
        "refresh_interval": "30s",
        # As long does a node know which version of a purged document was the last, and refuses older ones of a writer that
        # wakes up late. Its default is a minute, in which a laptop hardly falls asleep.
        "gc_deletes": "1d",
    }
}

Document = dict[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutgoingDocument:
    """A document as it is sent: its id, the Region whose index it belongs to, what errors call it, its JSON."""

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
    """Documents of all Regions in the room that a head names."""

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
        """One answer; one without hits where there is no index yet."""
        if not self._indices:
            return {"hits": {"hits": []}, "aggregations": {}}
        return self.node.ask(partial(_search, index=self._all, body=dict(body)))

    def count(self, filters: Sequence[Any]) -> int:
        """How many documents pass all filters."""
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
        """Sources of all hits in order, however many and however large they are.

        The order must tell all hits apart. Pages need no common moment: what holds at a generation is neither changed nor
        removed before the head says so.
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
        """Numbers of documents that together are no larger than an answer should be; they are measured first."""
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
        """Make the index of a Region, if there is none; one that the head knows must be there."""
        if region in self._indices:
            index = self._indices[region]
            self.node.ask(lambda c: c.indices.get_settings(index=index))  # writing would make another one in silence
        else:
            self.create(region)

    def create(self, region: str) -> None:
        """Make the index of a Region, if it is not there."""
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
        """Write documents, all in one request, as of a version; what is newer already is not touched.

        Raises
        ------
        StaleWriter
            A newer version of a document is there.
        CatalogError
            A document is refused.
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
            f"The catalog at {self.node.address} is too busy: it put off {len(waiting)} of {len(documents)} documents "
            f"{_BULK_TRIES} times. Nothing was written; try again later, or give the domain more nodes"
        )

    def refresh(self) -> None:
        """Let searches find all that was written."""
        if self._indices:
            self.node.ask(lambda c: whole(c.indices.refresh(index=self._all)))

    def remove(self, query: Mapping[str, Any]) -> None:
        """Begin to remove what matches; the node goes on with it by itself."""
        options = {"conflicts": "proceed", "refresh": "true", "wait_for_completion": "false"}
        body = {"query": dict(query)}
        self.node.ask(lambda c: c.delete_by_query(index=self._all, body=body, params=options)["task"])

    def drop(self) -> None:
        """Remove all indices, those that are there."""
        for index in self.names():
            with suppress(LostIndex):
                self.node.ask(partial(_delete, index=index))


def portions(sizes: Iterable[int]) -> Iterator[int]:
    """Numbers of documents, one after another, that together are no larger than `MAX_BODY_BYTES`; at least one each."""
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
    """What became of each document."""
    answer = client.bulk(body=body, params={"filter_path": "items.*.status,items.*.error"})
    items = [{**item["index"], "status": int(item["index"]["status"])} for item in answer["items"]]
    if len(items) != number:
        raise ValueError(f"{len(items)} answers to {number} documents")
    return items


def _delete(client: OpenSearch, index: str) -> Answer:
    return dict(client.indices.delete(index=index))


def _again(one: OutgoingDocument, answer: Mapping[str, Any]) -> bool:
    """Whether a document of a bulk request is to be sent again; raises if it never will be accepted."""
    status = answer["status"]
    if status < 300:
        return False
    if status in PASSING:
        return True
    if status == 409:
        raise StaleWriter("A newer commit wrote the same documents. Start again from the current catalog")
    reason = answer.get("error", {}).get("reason", status)
    raise CatalogError(f"The catalog refuses {one.title}: {reason}. Nothing was written; fix that entry and try again")
