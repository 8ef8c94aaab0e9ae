"""One commit to the catalog in OpenSearch: its documents become visible when the head changes.

Belongs here: the documents that a commit adds and expires. Does not belong here: the head (opensearch_head), requests
(opensearch_index), queries (opensearch_query).
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace

from xdask_pipelines.catalog.backend import Change, Tombstone
from xdask_pipelines.catalog.entry import version_order
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.manifest.pieces import changed, touched
from xdask_pipelines.catalog.opensearch.opensearch_head import Head, PlaceRecord
from xdask_pipelines.catalog.opensearch.opensearch_index import Document, Documents, OutgoingDocument
from xdask_pipelines.catalog.opensearch.opensearch_node import MAX_BODY_BYTES
from xdask_pipelines.catalog.opensearch.opensearch_query import OPEN, entry_fields, of_place, true_at
from xdask_pipelines.catalog.preconditions import check_count, check_removal

_CHUNK = 1_000
#: Concurrent requests: the next one is prepared while the node indexes others (measured in docs/catalog.md).
_SENDERS = 2


class OpenSearchCommit:
    """One commit.

    Parameters
    ----------
    documents
        Access to the documents.
    head
        The head before the commit.
    number
        Generation of the commit.
    as_they_are
        Whether entries keep their generations, as in a copy of another catalog.
    """

    def __init__(self, documents: Documents, head: Head, number: int, *, as_they_are: bool = False) -> None:
        self._as_they_are = as_they_are
        self._documents, self._head, self._number = documents, head, number
        self._ended = 0
        self._known = head.known()
        self._series: dict[str, str] = {}
        self.written = False
        #: Number of pieces of the manifest that was written last.
        self.pieces = 0

    def write(self, change: Change) -> Callable[[Head], Head]:
        """Write all documents, and return the change of the head that makes them visible."""
        before = self._before(change)
        for identity in change.removals:
            check_removal(change, identity, _place_of(before.get(identity)))
        above, turned = self._superseded(change, before)
        gone = [before[identity] for identity in change.removals]
        places: set[tuple[str, str]] = {(e.dataset, e.region) for e in change.upserts}
        places |= {(d["dataset"], d["region"]) for d in gone}
        if change.dataset is not None and change.region is not None:
            places.add((change.dataset, change.region))
        for region in sorted({region for _, region in places}):
            self._documents.make(region)
        self._send(self._changes(change, before, above, turned))
        if change.manifest is not None:
            self._send(self._pieces(change))
        self._documents.refresh()
        self._check_count(change)

        grown = Counter((e.dataset, e.region) for e in change.upserts if e.id not in before)
        grown.subtract((d["dataset"], d["region"]) for d in gone)
        entries = {place: self._entries(change, place, grown[place]) for place in places}

        def edit(head: Head) -> Head:
            for place in sorted(places):
                holdings = head.place(*place).holdings
                if change.holdings is not None and place == (change.dataset, change.region):
                    holdings = change.holdings
                now = PlaceRecord(generation=self._number, entries=entries[place], holdings=holdings)
                head = head.with_place(*place, now)
            if change.manifest is not None and change.dataset is not None and change.region is not None:
                head = head.with_pieces(change.dataset, change.region, self.pieces)
            return replace(head, closed=head.closed + self._ended)

        return edit

    def _entries(self, change: Change, place: tuple[str, str], grown: int) -> int:
        """Return the number of entries of a place after the commit, independently of its documents, which may be lost."""
        if change.expected_entries is not None and place == (change.dataset, change.region):
            return change.expected_entries
        before = self._head.place(*place)
        if before.entries is not None or not before.generation:
            return (before.entries or 0) + grown
        return self._documents.count([*true_at(self._head, "entry", self._number), *of_place(*place)])

    def bury(self, dataset: str, region: str, stones: Iterable[Tombstone]) -> None:
        """Write tombstones of another catalog, with their generations."""
        begin = {
            "kind": "tombstone",
            "dataset": dataset,
            "region": region,
            "from": self._number,
            "until": OPEN,
            "bytes": 0,
        }
        self._send((f"{stone.id}-{self._number}-t", {**asdict(stone), **begin}) for stone in stones)

    def _before(self, change: Change) -> dict[str, Document]:
        """Return place and series of the entries that the change replaces or removes; their documents may be damaged."""
        ids = [*(e.id for e in change.upserts if (e.dataset, e.region) in self._known), *change.removals]
        return {d["id"]: d for d in self._true("id", ids, ["id", "dataset", "region", "series"])}

    def _superseded(self, change: Change, before: dict[str, Document]) -> tuple[set[str], dict[str, bool]]:
        """Return the ids of upserts that are superseded, and the other entries whose flag changes."""
        members: defaultdict[str, list[tuple[tuple[tuple[int, str], ...], str, bool | None]]] = defaultdict(list)
        for entry in change.upserts:
            self._series[entry.id] = entry.series
            if self._series[entry.id]:
                members[self._series[entry.id]].append((version_order(entry.version), entry.id, None))
        named = {e.id for e in change.upserts} | set(change.removals)
        series = {s for s in members if self._known} | {d["series"] for d in before.values() if d["series"]}
        for d in self._true("series", sorted(series), ["id", "series", "version", "superseded"]):
            if d["id"] not in named:
                members[d["series"]].append((version_order(d["version"]), d["id"], d["superseded"]))
        above: set[str] = set()
        turned: dict[str, bool] = {}
        for versions in members.values():
            highest = max(order for order, _, _ in versions)
            for order, identity, was in versions:
                if was is None and order < highest:
                    above.add(identity)
                elif was is not None and was != (order < highest):
                    turned[identity] = order < highest
        return above, turned

    def _changes(
        self, change: Change, before: dict[str, Document], above: set[str], turned: dict[str, bool]
    ) -> Iterator[tuple[str, Document]]:
        """Iterate over expired and new documents of entries and tombstones."""
        begin = {"from": self._number, "until": OPEN}
        for old in self._true("id", [e.id for e in change.upserts if e.id in before]):
            yield self._end(old)
        stoned = [e.id for e in change.upserts if (e.dataset, e.region) in self._known and e.id not in before]
        for old in self._true("id", stoned, kind="tombstone"):
            yield self._end(old)
        for entry in change.upserts:
            superseded, series = entry.id in above, self._series[entry.id]
            generation = entry.generation if self._as_they_are else self._number
            fields = entry_fields(entry, series=series, superseded=superseded, generation=generation)
            yield f"{entry.id}-{self._number}", {**fields, **begin}
        for old in self._true("id", list(turned)):
            yield self._end(old)
            yield f"{old['id']}-{self._number}", {**old, "superseded": turned[old["id"]], **begin}
        for old in self._true("id", list(change.removals)):
            yield self._end(old)
            stone = {name: old[name] for name in ("id", "dataset", "region", "key", "part")}
            stone |= {"kind": "tombstone", "generation": self._number, "bytes": 0, **begin}
            yield f"{old['id']}-{self._number}-t", stone

    def _pieces(self, change: Change) -> Iterator[tuple[str, Document]]:
        """Iterate over expired and new pieces of the manifest."""
        assert change.manifest is not None
        assert change.dataset is not None
        assert change.region is not None
        place = of_place(change.dataset, change.region)
        kept = {"bool": {"filter": [*true_at(self._head, "manifest"), *place]}}
        old = list(self._documents.found(kept, ["key"], ["key", "id", "from"]))
        counted = self._head.pieces_of(change.dataset, change.region)
        # If a piece was lost, a sync compares everything and writes the missing objects, so it may reset the count.
        # Other commits keep it, so that the loss stays visible.
        self.pieces = len(old) if counted is None or change.holdings is not None else counted
        stem = hashlib.blake2b(f"{change.dataset}\0{change.region}".encode(), digest_size=16).hexdigest()
        count = 0
        for i, part in touched([d["key"] for d in old], change.manifest).items():
            before = ObjectTable.of(())
            if old:
                (piece,) = self._true("id", [old[i]["id"]], kind="manifest")
                before = ObjectTable.in_order(ObjectTable.unpacked(packed(piece)))
                yield self._end(piece)
                self.pieces -= 1
            for objects in changed(before, part):
                identity = f"{stem}-{self._number}-{count}"
                fields: Document = {
                    "kind": "manifest",
                    "id": identity,
                    "dataset": change.dataset,
                    "region": change.region,
                }
                rows = base64.b64encode(objects.packed()).decode("ascii")
                fields |= {
                    "key": objects[0].key,
                    "rows": rows,
                    "bytes": len(rows),
                    "from": self._number,
                    "until": OPEN,
                }
                yield identity, fields
                count += 1
                self.pieces += 1

    def _end(self, old: Document) -> tuple[str, Document]:
        """Return a document that expires with this commit."""
        self._ended += 1
        suffix = {"entry": "", "tombstone": "-t"}.get(old["kind"])
        identity = old["id"] if suffix is None else f"{old['id']}-{old['from']}{suffix}"
        return identity, {**old, "until": self._number}

    def _true(
        self, field: str, values: Sequence[str], fields: Sequence[str] | bool = True, kind: str = "entry"
    ) -> Iterator[Document]:
        """Iterate over documents that are valid before the commit, by one of their fields."""
        for some in _chunks(values):
            query = {"bool": {"filter": [*true_at(self._head, kind), {"terms": {field: list(some)}}]}}
            yield from self._documents.found(query, ["id"], fields, limit=None if field == "series" else len(some))

    def _send(self, documents: Iterable[tuple[str, Document]]) -> None:
        """Write documents with concurrent requests; after an error wait for those in progress, and send no more."""
        with ThreadPoolExecutor(_SENDERS) as senders:
            sent: deque[Future[None]] = deque()
            for some in _requests(documents):
                self.written = True
                sent.append(senders.submit(self._documents.write, some, self._number))
                if len(sent) > _SENDERS:
                    sent.popleft().result()
            for future in sent:
                future.result()

    def _check_count(self, change: Change) -> None:
        if change.expected_entries is not None and change.dataset is not None and change.region is not None:
            filters = [*true_at(self._head, "entry", self._number), *of_place(change.dataset, change.region)]
            check_count(change, self._documents.count(filters))


def _place_of(held: Document | None) -> tuple[str, str] | None:
    return None if held is None else (held["dataset"], held["region"])


def packed(piece: Document) -> bytes:
    """Return the packed objects of a piece of a manifest."""
    return base64.b64decode(piece["rows"])


def _requests(documents: Iterable[tuple[str, Document]]) -> Iterator[list[OutgoingDocument]]:
    """Group documents into requests, limited in number and bytes; a larger document is sent alone."""
    together: list[OutgoingDocument] = []
    total = 0
    for one in (OutgoingDocument.of(identity, document) for identity, document in documents):
        if together and (len(together) == _CHUNK or total + len(one.body) > MAX_BODY_BYTES):
            yield together
            together, total = [], 0
        together.append(one)
        total += len(one.body)
    if together:
        yield together


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))
