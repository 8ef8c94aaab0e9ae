"""The catalog in OpenSearch: one node on a laptop, a managed domain on AWS.

Belongs here: the store's answers, and leases. Does not belong here: connections (opensearch_node), documents
(opensearch_index), what is true (opensearch_head), what a query means (opensearch_query), a commit (opensearch_write).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from xdask_pipelines.catalog.backend import Change, Committed, Lease, Query, Tombstone
from xdask_pipelines.catalog.claims import being_synced, check_base, check_lease
from xdask_pipelines.catalog.entry import FIELDS, Entry
from xdask_pipelines.catalog.listing import StoredObject
from xdask_pipelines.catalog.opensearch_head import Head, HeadDocument
from xdask_pipelines.catalog.opensearch_index import Documents
from xdask_pipelines.catalog.opensearch_manifest import unpacked
from xdask_pipelines.catalog.opensearch_node import Address, Node
from xdask_pipelines.catalog.opensearch_query import MARK, matching, of_place, sorting, true_at, values_of
from xdask_pipelines.catalog.opensearch_write import Writer
from xdask_pipelines.errors import CatalogError

T = TypeVar("T")
#: Documents that have ended are removed when there are so many.
_PURGE = 10_000
_MAX_VALUES = 65_000


class OpenSearchBackend:
    """See :class:`xdask_pipelines.catalog.backend.Backend`, which this implements, for every method."""

    def __init__(self, url: str) -> None:
        node = Node(Address.parse(url))
        self._heads = HeadDocument(node)
        self._documents = Documents(node)

    def commit(self, change: Change) -> int:
        """Write all of a change or nothing."""
        head, attempt = self._heads.begin()
        writer = Writer(self._documents, head, attempt.number)
        try:
            _check_current(head, change)
            with self._heads.alive(attempt):
                edit = writer.write(change)
            head = self._heads.finish(attempt, lambda now: edit(_checked(now, change)))
        except BaseException:
            with suppress(CatalogError):  # the first error tells more; the next writer aborts what is left
                self._heads.abort(attempt, written=writer.written)
            raise
        if head.closed > _PURGE:
            self._purge(attempt.number)
        return attempt.number

    def search(self, query: Query) -> list[Entry]:
        """Matching entries, sorted."""

        def read(head: Head) -> list[Entry]:
            found = self._documents.found(matching(head, query), sorting(), ["document", "generation"], query.limit)
            return [Entry.from_json(d["document"], generation=d["generation"]) for d in found]

        return self._reading(read)

    def count(self, query: Query) -> int:
        """How many entries match."""
        return self._reading(lambda head: self._documents.count([matching(head, query)]))

    def facets(self, names: Sequence[str], query: Query) -> dict[str, dict[str, int]]:
        """Values among matching entries, and how many have each."""

        def read(head: Head) -> dict[str, dict[str, int]]:
            wanted = matching(head, query)
            asked = {f"n{i}": values_of(name, _MAX_VALUES) for i, name in enumerate(names) if name != "key"}
            answer = self._documents.search({"query": wanted, "size": 0, "aggs": asked}) if asked else {}
            counted = answer.get("aggregations") or {}
            found: dict[str, dict[str, int]] = {}
            for i, name in enumerate(names):
                if name == "key":
                    found[name] = self._keys(wanted)
                    continue
                values = counted.get(f"n{i}", {"buckets": ()})
                if values.get("sum_other_doc_count"):
                    raise CatalogError(
                        f"{name} has more than {_MAX_VALUES} values among these entries; narrow the query"
                    )
                pairs = ((b["key"].split(MARK, 1)[1], int(b["doc_count"])) for b in values["buckets"])
                found[name] = dict(sorted(pairs))
            return found

        return self._reading(read)

    def names(self) -> dict[str, str]:
        """Names that entries can be found by, and their kind."""

        def read(head: Head) -> dict[str, str]:
            query = {"bool": {"filter": true_at(head, "entry")}}
            body = {"query": query, "size": 0, "aggs": {"names": {"terms": {"field": "names", "size": _MAX_VALUES}}}}
            buckets = self._documents.search(body)["aggregations"].get("names", {"buckets": ()})["buckets"]
            # A name may be a facet of one dataset and an attribute of another; "facet" sorts after "attribute".
            pairs = sorted(bucket["key"].split(MARK, 1) for bucket in buckets)
            kinds = {name: kind for kind, name in pairs}
            return dict(sorted({**kinds, **dict.fromkeys(FIELDS, "field")}.items())) if kinds else {}

        return self._reading(read)

    def generation(self, dataset: str, region: str) -> int:
        """Last commit that touched (dataset, Region)."""
        return self._heads.load().place(dataset, region).generation

    def committed(self, dataset: str, region: str) -> Committed:
        """Base of the next sync."""
        place = of_place(dataset, region)

        def read(head: Head) -> Committed:
            if not head.generation:
                return Committed()

            def true(kind: str, *fields: str) -> list[dict[str, str]]:
                query = {"bool": {"filter": [*true_at(head, kind), *place]}}
                return list(self._documents.found(query, ["key", "part", "id"], fields))

            objects: list[StoredObject] = []
            for piece in true("manifest", "rows"):
                objects += unpacked(piece["rows"])
            digests = {d["id"]: d["digest"] for d in true("entry", "id", "digest")}
            return Committed(generation=head.place(dataset, region).generation, objects=objects, digests=digests)

        return self._reading(read)

    def tombstones(self, dataset: str, region: str) -> list[Tombstone]:
        """Entries removed and not written again since."""

        def read(head: Head) -> list[Tombstone]:
            query = {"bool": {"filter": [*true_at(head, "tombstone"), *of_place(dataset, region)]}}
            found = self._documents.found(query, ["key", "part"], ["id", "key", "part", "generation"])
            return [Tombstone(**d) for d in found]

        return self._reading(read)

    def lease(self, dataset: str, region: str, owner: str) -> Lease:
        """Claim the right to sync (dataset, Region)."""
        token = secrets.token_hex(16)

        def edit(head: Head) -> Head:
            place = head.place(dataset, region)
            if token == place.token:
                return head
            if place.owner is None or owner in (place.owner, place.challenger):
                place = replace(place, owner=owner, token=token, challenger=None)
            else:
                place = replace(place, challenger=owner)
            return head.with_place(dataset, region, place)

        place = self._heads.change(edit).place(dataset, region)
        if place.token != token:
            raise being_synced(dataset, region, place.owner, place.generation)
        return Lease(dataset=dataset, region=region, owner=owner, generation=place.generation, token=token)

    def renew(self, lease: Lease) -> None:
        """Show life."""

        def edit(head: Head) -> Head:
            place = head.place(lease.dataset, lease.region)
            check_lease(lease, place.owner, place.token)
            return head.with_place(lease.dataset, lease.region, replace(place, challenger=None))

        self._heads.change(edit)

    def release(self, lease: Lease) -> None:
        """Give a lease back unused."""

        def edit(head: Head) -> Head:
            place = head.place(lease.dataset, lease.region)
            if place.token != lease.token:
                return head
            free = replace(place, owner=None, token=None, challenger=None)
            return head.with_place(lease.dataset, lease.region, free)

        self._heads.change(edit)

    def _reading(self, read: Callable[[Head], T]) -> T:
        """An answer of one generation: asked again if documents of that generation were removed meanwhile."""
        while True:
            head = self._heads.load()
            answer = read(head)
            if self._heads.load().purged <= head.generation:
                return answer

    def _keys(self, query: dict[str, object]) -> dict[str, int]:
        """Keys and how many entries have each, page by page: there are nearly as many as entries."""
        counts: dict[str, int] = {}
        after: dict[str, str] | None = None
        while True:
            pages = {"size": 10_000, "sources": [{"key": {"terms": {"field": "key"}}}]} | (
                {"after": after} if after else {}
            )
            body = {"query": query, "size": 0, "aggs": {"keys": {"composite": pages}}}
            answer = self._documents.search(body)["aggregations"].get("keys", {"buckets": ()})
            counts.update({b["key"]["key"]: int(b["doc_count"]) for b in answer["buckets"]})
            after = answer.get("after_key")
            if not after:
                return counts

    def _purge(self, until: int) -> None:
        """Remove what has ended, after telling readers."""
        self._heads.change(lambda head: replace(head, purged=max(head.purged, until), closed=0))
        self._documents.purge(until)


def _check_current(head: Head, change: Change) -> None:
    """Refuse a change that builds on what is no longer current."""
    if change.lease is not None:
        place = head.place(change.lease.dataset, change.lease.region)
        check_lease(change.lease, place.owner, place.token)
    if change.dataset is not None and change.region is not None:
        check_base(change, head.place(change.dataset, change.region).generation)


def _checked(head: Head, change: Change) -> Head:
    """The same head, if the lease still holds at the end: it may have passed on during a long commit."""
    if change.lease is not None:
        place = head.place(change.lease.dataset, change.lease.region)
        check_lease(change.lease, place.owner, place.token)
    return head
