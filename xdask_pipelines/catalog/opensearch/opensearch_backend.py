"""The catalog in OpenSearch: a single node on a laptop, or a managed domain on AWS.

Belongs here: the methods of the store, and leases. Does not belong here: connections (opensearch_node), documents
(opensearch_index), the current state (opensearch_head), queries (opensearch_query), commits (opensearch_write).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from xdask_pipelines.catalog.backend import Change, Committed, Contents, Lease, Query, Tombstone
from xdask_pipelines.catalog.entry import FIELDS, Entry
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects
from xdask_pipelines.catalog.opensearch.opensearch_address import Address
from xdask_pipelines.catalog.opensearch.opensearch_fill import fill
from xdask_pipelines.catalog.opensearch.opensearch_head import Head, HeadDocument
from xdask_pipelines.catalog.opensearch.opensearch_index import Documents
from xdask_pipelines.catalog.opensearch.opensearch_migrate import migrate
from xdask_pipelines.catalog.opensearch.opensearch_node import Node
from xdask_pipelines.catalog.opensearch.opensearch_query import (
    SORTING,
    counts_of,
    garbage,
    kinds_of,
    matching,
    of_place,
    true_at,
    values_of,
)
from xdask_pipelines.catalog.opensearch.opensearch_write import OpenSearchCommit, packed
from xdask_pipelines.catalog.preconditions import being_synced, check_base, check_lease, moved_on
from xdask_pipelines.errors import CatalogError

T = TypeVar("T")
#: Number of expired documents at which they are removed.
_PURGE = 10_000
#: Limits of values in one answer: of one name, for which a node counts at most 65,535; and of several names together,
#: to keep answers small.
_MAX_VALUES = 65_000
_ALL_VALUES = 20_000


class OpenSearchBackend:
    """See :class:`xdask_pipelines.catalog.backend.Backend`, which this implements, for every method."""

    def __init__(self, url: str) -> None:
        self.node = Node(Address.parse(url))
        self.heads = HeadDocument(self.node)

    def commit(self, change: Change) -> int:
        """Write a change atomically."""
        head, attempt = self.heads.begin()
        writer = OpenSearchCommit(Documents(self.node, head), head, attempt.number)
        try:
            _check_lease(head, change)
            if change.dataset is not None and change.region is not None:
                check_base(change, head.place(change.dataset, change.region).generation)
            with self.heads.alive(attempt):
                edit = writer.write(change)
            # The lease may have passed on during a long commit.
            head = self.heads.finish(attempt, lambda now: edit(_check_lease(now, change)))
        except BaseException:
            with suppress(CatalogError):  # the first error is more useful; the next writer aborts this attempt
                self.heads.abort(attempt, written=writer.written)
            raise
        if head.closed > _PURGE or len(head.aborted) > head.swept:
            self.purge()
        return attempt.number

    def search(self, query: Query) -> list[Entry]:
        """Return matching entries, sorted."""

        def read(head: Head, documents: Documents) -> list[Entry]:
            documents_found = documents.found(matching(head, query), SORTING, ["document", "generation"], query.limit)
            return [
                Entry.from_json(d.get("document") or "", generation=d.get("generation", 0)) for d in documents_found
            ]

        return self._reading(read)

    def count(self, query: Query) -> int:
        """Return the number of matching entries."""
        return self._reading(lambda head, documents: documents.count([matching(head, query)]))

    def facets(self, names: Sequence[str], query: Query) -> dict[str, dict[str, int]]:
        """Return the values among matching entries, and the number of entries for each."""

        def read(head: Head, documents: Documents) -> dict[str, dict[str, int]]:
            wanted = matching(head, query)
            others = [name for name in names if name != "key"]
            counted = _counted(documents, wanted, others, _ALL_VALUES // max(len(others), 1))
            for name in others:
                if counted[name] is None:  # too many values for a common answer: counted alone
                    counted |= _counted(documents, wanted, [name], _MAX_VALUES)
                if counted[name] is None:
                    raise CatalogError(
                        f"{name} has more than {_MAX_VALUES} values among these entries. Narrow the query"
                    )
            return {name: _keys(documents, wanted) if name == "key" else counted[name] or {} for name in names}

        return self._reading(read)

    def names(self) -> dict[str, str]:
        """Return the names that can be searched, and their kind."""

        def read(head: Head, documents: Documents) -> dict[str, str]:
            query = {"bool": {"filter": true_at(head, "entry")}}
            body = {"query": query, "size": 0, "aggs": {"names": {"terms": {"field": "names", "size": _MAX_VALUES}}}}
            buckets = documents.search(body)["aggregations"].get("names", {"buckets": ()})["buckets"]
            # A name may be a facet of one dataset and an attribute of another; "facet" sorts after "attribute".
            pairs = sorted((kind, name) for bucket in buckets for name, kind in kinds_of(bucket["key"]).items())
            kinds = {name: kind for kind, name in pairs}
            return dict(sorted({**kinds, **dict.fromkeys(FIELDS, "field")}.items())) if kinds else {}

        return self._reading(read)

    def generation(self, dataset: str, region: str) -> int:
        """Return the last commit of (dataset, Region)."""
        return self.heads.load().place(dataset, region).generation

    def committed(self, dataset: str, region: str) -> Committed:
        """Return the state after the last commit."""
        place = of_place(dataset, region)

        def read(head: Head, documents: Documents) -> Committed:
            if not head.generation:
                return Committed()

            query = {"bool": {"filter": [*true_at(head, "manifest"), *place]}}
            pieces = [packed(piece) for piece in documents.found(query, ["key", "id"], ["rows"])]
            of_place_now = head.place(dataset, region)
            return Committed(
                generation=of_place_now.generation,
                objects=PackedObjects(pieces),
                entries=documents.count([*true_at(head, "entry"), *place]),
                written_entries=of_place_now.entries,
                holdings=of_place_now.holdings,
                lost_objects=head.pieces_of(dataset, region) not in (None, len(pieces)),
                read_digests=partial(self._digests, dataset, region, of_place_now.generation),
            )

        return self._reading(read)

    def _digests(self, dataset: str, region: str, generation: int) -> dict[str, str]:
        def read(head: Head, documents: Documents) -> dict[str, str]:
            if head.place(dataset, region).generation != generation:
                raise moved_on(dataset, region, generation)
            query = {"bool": {"filter": [*true_at(head, "entry"), *of_place(dataset, region)]}}
            return {d["id"]: d["digest"] for d in documents.found(query, ["key", "part", "id"], ["id", "digest"])}

        return self._reading(read)

    def tombstones(self, dataset: str, region: str) -> list[Tombstone]:
        """Return entries that were removed and not written again."""

        def read(head: Head, documents: Documents) -> list[Tombstone]:
            query = {"bool": {"filter": [*true_at(head, "tombstone"), *of_place(dataset, region)]}}
            documents_found = documents.found(query, ["key", "part"], ["id", "key", "part", "generation"])
            return [Tombstone(**d) for d in documents_found]

        return self._reading(read)

    def lease(self, dataset: str, region: str, owner: str) -> Lease:
        """Acquire the lease to sync (dataset, Region)."""
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

        place = self.heads.change(edit).place(dataset, region)
        if place.token != token:
            raise being_synced(dataset, region, place.owner, place.generation)
        return Lease(dataset=dataset, region=region, owner=owner, generation=place.generation, token=token)

    def renew(self, lease: Lease) -> None:
        """Send a heartbeat."""

        def edit(head: Head) -> Head:
            place = head.place(lease.dataset, lease.region)
            check_lease(lease, place.owner, place.token)
            return head.with_place(lease.dataset, lease.region, replace(place, challenger=None))

        self.heads.change(edit)

    def release(self, lease: Lease) -> None:
        """Release a lease without a commit."""

        def edit(head: Head) -> Head:
            place = head.place(lease.dataset, lease.region)
            if place.token != lease.token:
                return head
            free = replace(place, owner=None, token=None, challenger=None)
            return head.with_place(lease.dataset, lease.region, free)

        self.heads.change(edit)

    def places(self) -> dict[tuple[str, str], int]:
        """Return places with commits, and their last commits."""
        head = self.heads.load()
        return {(dataset, region): head.place(dataset, region).generation for dataset, region in head.known()}

    def fill(self, contents: Iterable[Contents], newest: int) -> None:
        """Write a whole catalog, as one commit."""
        fill(self.node, self.heads, contents, newest)

    def migrate(self, tell: Callable[[str], None]) -> bool:
        """Copy documents of an older mapping into new indices."""
        return migrate(self.node, tell)

    def repair(self) -> dict[tuple[str, str], int]:
        """Do nothing: a node checks its own files, and does not use damaged ones."""
        return {}

    def _reading(self, read: Callable[[Head, Documents], T]) -> T:
        """Read from one generation; read again if its documents or indices were removed meanwhile."""
        while True:
            head = self.heads.load()
            try:
                answer = read(head, Documents(self.node, head))
            except CatalogError:
                if self._still_holds(head):
                    raise
                continue
            if self._still_holds(head):
                return answer

    def _still_holds(self, head: Head) -> bool:
        """Return whether the documents of a head's generation still exist, in the same indices."""
        now = self.heads.load()
        return now.purged <= head.generation and now.room == head.room

    def purge(self) -> None:
        """Remove documents that are no longer valid, after readers can know it from the head."""

        def edit(head: Head) -> Head:
            if head.closed > _PURGE:
                head = replace(head, purged=head.generation, closed=0)
            return replace(head, swept=len(head.aborted))

        head = self.heads.change(edit)
        documents = Documents(self.node, head)
        documents.refresh()
        documents.remove(garbage(head))


def _counted(
    documents: Documents, query: dict[str, object], names: Sequence[str], most: int
) -> dict[str, dict[str, int] | None]:
    """Return values of names and the number of entries for each; None for names with more than ``most`` values."""
    if not names:
        return {}
    asked = {f"n{i}": values_of(name, most) for i, name in enumerate(names)}
    answer = documents.search({"query": query, "size": 0, "aggs": asked})["aggregations"]
    found: dict[str, dict[str, int] | None] = {}
    for i, name in enumerate(names):
        values = answer.get(f"n{i}", {"buckets": ()})
        found[name] = None if values.get("sum_other_doc_count") else counts_of(name, values["buckets"])
    return found


def _keys(documents: Documents, query: dict[str, object]) -> dict[str, int]:
    """Return keys and the number of entries for each, page by page, because they are nearly as many as entries."""
    counts: dict[str, int] = {}
    after: dict[str, str] | None = None
    while True:
        pages = {"size": 10_000, "sources": [{"key": {"terms": {"field": "key"}}}]} | (
            {"after": after} if after else {}
        )
        body = {"query": query, "size": 0, "aggs": {"keys": {"composite": pages}}}
        answer = documents.search(body)["aggregations"].get("keys", {"buckets": ()})
        counts.update({b["key"]["key"]: int(b["doc_count"]) for b in answer["buckets"]})
        after = answer.get("after_key")
        if not after:
            return counts


def _check_lease(head: Head, change: Change) -> Head:
    """Return the head unchanged, or raise if the lease of a change is not the current one."""
    if change.lease is not None:
        place = head.place(change.lease.dataset, change.lease.region)
        check_lease(change.lease, place.owner, place.token)
    return head
