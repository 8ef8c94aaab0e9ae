"""Documents in OpenSearch: one index a Region behind one alias; finding them page by page, writing them in bulk.

Belongs here: requests about documents. Does not belong here: which documents are true (query), or what a commit writes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from xdask_pipelines.catalog.opensearch_node import PASSING, Node, pause
from xdask_pipelines.catalog.opensearch_query import MAPPING
from xdask_pipelines.errors import CatalogError, StaleWriter

#: Part of the names of indices; a new one where the mapping changes.
SCHEMA_VERSION = 1
PAGE = 10_000
_BULK_TRIES = 8
_KEEP_ALIVE = "5m"
_SETTINGS = {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "30s"}}

Document = dict[str, Any]


class Documents:
    """Documents of all Regions."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.alias = f"{node.address.name}-entries"
        self._made: set[str] = set()

    # ---- reading ----------------------------------------------------------------------------------------------

    def search(self, body: Mapping[str, Any]) -> Document:
        """One answer; one without hits where there is no index yet."""
        empty: Document = {"hits": {"hits": [], "total": {"value": 0}}, "aggregations": {}}
        return self._node.ask(lambda c: dict(c.search(index=self.alias, body=dict(body))), missing=empty)

    def count(self, filters: Sequence[Any]) -> int:
        """How many documents pass all filters."""
        body = {"query": {"bool": {"filter": list(filters)}}}
        return int(self._node.ask(lambda c: c.count(index=self.alias, body=body)["count"], missing=0))

    def found(
        self,
        query: Mapping[str, Any],
        sort: Sequence[str],
        fields: Sequence[str] | bool = True,
        limit: int | None = None,
    ) -> Iterator[Document]:
        """Sources of all hits in order, of one moment, however many there are."""
        if limit == 0:
            return
        size = min(limit or PAGE, PAGE)
        body: Document = {"query": dict(query), "sort": list(sort), "_source": fields, "size": size}
        if limit is not None and limit <= PAGE:
            yield from (hit["_source"] for hit in self.search(body)["hits"]["hits"])
            return
        nothing: Document = {}
        options = {"keep_alive": _KEEP_ALIVE}
        point = self._node.ask(lambda c: c.create_pit(index=self.alias, params=options), missing=nothing).get("pit_id")
        if point is None:
            return
        left = limit
        try:
            while True:
                paged = {**body, "pit": {"id": point, "keep_alive": _KEEP_ALIVE}, "track_total_hits": False}
                hits = self._node.ask(lambda c, paged=paged: c.search(body=paged))["hits"]["hits"]  # type: ignore[misc]
                for hit in hits if left is None else hits[:left]:
                    yield hit["_source"]
                left = None if left is None else left - len(hits)
                if len(hits) < size or (left is not None and left <= 0):
                    return
                body["search_after"] = hits[-1]["sort"]
        finally:
            self._node.ask(lambda c: c.delete_pit(body={"pit_id": [point]}), missing={})

    # ---- writing ----------------------------------------------------------------------------------------------

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
            lines: list[Document] = []
            for identity, document in waiting:
                at = {"_index": self._index(document["region"]), "_id": identity}
                lines += ({"index": {**at, "version": version, "version_type": "external_gte"}}, document)
            body = "".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n" for line in lines)
            answer = self._node.ask(lambda c, body=body: c.bulk(body=body))  # type: ignore[misc]
            if not answer["errors"]:
                return
            waiting = [one for one, item in zip(waiting, answer["items"], strict=True) if _again(one[1], item["index"])]
            if not waiting:
                return
            pause(i)
        raise CatalogError(
            f"The catalog at {self._node.address} is too busy: it put off {len(waiting)} of {len(documents)} documents "
            f"{_BULK_TRIES} times. Nothing was written; try again later, or give the domain more nodes"
        )

    def refresh(self) -> None:
        """Let searches find all that was written."""
        self._node.ask(lambda c: c.indices.refresh(index=self.alias), missing={})

    def purge(self, until: int) -> None:
        """Remove documents that ended at or before a generation."""
        body = {"query": {"range": {"until": {"lte": until}}}}
        options = {"conflicts": "proceed", "refresh": "true", "wait_for_completion": "false"}
        self._node.ask(lambda c: c.delete_by_query(index=self.alias, body=body, params=options), missing={})

    def _index(self, region: str) -> str:
        """The index of a Region, which is made by the first document."""
        name = region if re.fullmatch(r"[a-z0-9-]{1,60}", region) else hashlib.blake2b(region.encode()).hexdigest()[:32]
        index = f"{self._node.address.name}-{SCHEMA_VERSION}-{name}"
        if index not in self._made:
            body = {"settings": _SETTINGS, "mappings": MAPPING, "aliases": {self.alias: {}}}

            def create(client: OpenSearch) -> None:
                if not client.indices.exists(index=index):
                    client.indices.create(index=index, body=body)

            try:
                self._node.ask(create)
            except CatalogError as error:
                if "already exists" not in str(error):
                    raise
            self._made.add(index)
        return index


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
