"""Documents in OpenSearch: one index a Region; finding them page by page, writing them in bulk.

Belongs here: requests about documents. Does not belong here: which documents are true (query), or what a commit writes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from opensearchpy import OpenSearch

from xdask_pipelines.catalog.opensearch_head import Head
from xdask_pipelines.catalog.opensearch_node import PASSING, Node, pause
from xdask_pipelines.catalog.opensearch_query import MAPPING
from xdask_pipelines.errors import CatalogError, StaleWriter

PAGE = 10_000
_BULK_TRIES = 8
_KEEP_ALIVE = "5m"
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
            return {"hits": {"hits": [], "total": {"value": 0}}, "aggregations": {}}
        return self.node.ask(lambda c: dict(c.search(index=self._all, body=dict(body))))

    def count(self, filters: Sequence[Any]) -> int:
        """How many documents pass all filters."""
        if not self._indices:
            return 0
        body = {"query": {"bool": {"filter": list(filters)}}}
        return self.node.ask(lambda c: int(c.count(index=self._all, body=body)["count"]))

    def found(
        self,
        query: Mapping[str, Any],
        sort: Sequence[str],
        fields: Sequence[str] | bool = True,
        limit: int | None = None,
        page: int = PAGE,
    ) -> Iterator[Document]:
        """Sources of all hits in order, however many there are: of more than a page, all of one moment."""
        if limit == 0 or not self._indices:
            return
        size = min(limit or page, page)
        body: Document = {"query": dict(query), "sort": list(sort), "_source": fields, "size": size}
        if limit is not None and limit <= page:
            yield from (hit["_source"] for hit in self.search(body)["hits"]["hits"])
            return
        options = {"keep_alive": _KEEP_ALIVE}
        point = self.node.ask(lambda c: str(c.create_pit(index=self._all, params=options)["pit_id"]))
        left = limit
        try:
            while True:
                paged = {**body, "pit": {"id": point, "keep_alive": _KEEP_ALIVE}, "track_total_hits": False}
                hits = self.node.ask(partial(_search, body=paged))["hits"]["hits"]
                for hit in hits if left is None else hits[:left]:
                    yield hit["_source"]
                left = None if left is None else left - len(hits)
                if len(hits) < size or (left is not None and left <= 0):
                    return
                body["search_after"] = hits[-1]["sort"]
        finally:
            self.node.ask(lambda c: c.delete_pit(body={"pit_id": [point]}), missing={})

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

    def write(self, documents: Sequence[tuple[str, Document]], version: int) -> None:
        """Write documents, each with its id, as of a version; what is newer already is not touched.

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
            for identity, document in waiting:
                at = {"_index": self._indices[document["region"]], "_id": identity}
                lines.append(orjson.dumps({"index": {**at, "version": version, "version_type": "external_gte"}}))
                lines.append(orjson.dumps(document))
            answer = self.node.ask(partial(_bulk, body=b"\n".join([*lines, b""])))
            if not answer["errors"]:
                return
            waiting = [one for one, item in zip(waiting, answer["items"], strict=True) if _again(one[1], item["index"])]
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
            self.node.ask(lambda c: c.indices.refresh(index=self._all))

    def remove(self, query: Mapping[str, Any]) -> None:
        """Begin to remove what matches; the node goes on with it by itself."""
        options = {"conflicts": "proceed", "refresh": "true", "wait_for_completion": "false"}
        self.node.ask(lambda c: c.delete_by_query(index=self._all, body={"query": dict(query)}, params=options))

    def drop(self) -> None:
        """Remove all indices, those that are there."""
        for index in self.names():
            nothing: Answer = {}
            self.node.ask(partial(_delete, index=index), missing=nothing)


def _search(client: OpenSearch, body: Document) -> Answer:
    return dict(client.search(body=body))


def _bulk(client: OpenSearch, body: bytes) -> Answer:
    return dict(client.bulk(body=body, params={"filter_path": "errors,items.*.status,items.*.error"}))


def _delete(client: OpenSearch, index: str) -> Answer:
    return dict(client.indices.delete(index=index))


def _again(document: Document, answer: Mapping[str, Any]) -> bool:
    """Whether a document of a bulk request is to be sent again; raises if it never will be accepted."""
    status = answer["status"]
    if status < 300:
        return False
    if status in PASSING:
        return True
    if status == 409:
        raise StaleWriter("A newer commit wrote the same documents. Start again from the current catalog")
    reason = answer.get("error", {}).get("reason", status)
    raise CatalogError(
        f"The catalog refuses {document['dataset']} {document['region']}:{document['key']}: {reason}. Nothing was "
        f"written; mend that entry and try again"
    )
