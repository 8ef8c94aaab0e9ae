"""The head of a catalog in OpenSearch: one document with the valid commits, which is replaced atomically.

Each document has the first and the last generation in which it is valid, and the head has the current generation of
readers. A commit of a million documents therefore becomes visible atomically when the head changes, and a writer that
dies before leaves nothing visible.

Belongs here: the head, the current writer, and leases of places. Does not belong here: entries.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial

from opensearchpy import OpenSearch

from xdask_pipelines.catalog.opensearch.opensearch_node import Conflict, LostIndex, Node, pause
from xdask_pipelines.errors import CatalogError, StaleWriter

#: Version of the mapping (opensearch_query) that this code uses. Catalogs of older versions must be migrated.
SCHEMA_VERSION = 3
#: Timeout of heartbeats of a writer, by the clock of the waiting process.
PATIENCE_SECONDS = 10.0
_LIFE_SECONDS = 2.0
_TURN_SECONDS = 0.01
_SETTINGS = {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}}
_MAPPING = {"dynamic": "strict", "properties": {"head": {"type": "keyword", "index": False, "doc_values": False}}}


@dataclass(frozen=True)
class PlaceRecord:
    """One (dataset, Region): its last commit, its number of entries, and the holder of its lease.

    ``entries`` is None if the last commit was written by an older version that did not count entries.
    """

    generation: int = 0
    entries: int | None = None
    holdings: str = ""
    owner: str | None = None
    token: str | None = None
    challenger: str | None = None


@dataclass(frozen=True)
class Attempt:
    """A commit in progress: its number, the token of its writer, and a counter of heartbeats."""

    number: int
    token: str
    life: int = 0


@dataclass(frozen=True)
class Head:
    """The current state of the catalog.

    ``aborted`` are the numbers of commits that failed, whose documents are invalid. ``purged``: documents that expired
    at or before this generation may have been removed. ``closed``: number of documents that have expired since.
    ``swept``: number of ``aborted`` commits whose documents have been removed. ``schema`` is the version of the
    mapping. ``room`` is the current set of indices, and ``left`` are previous ones that may still exist. ``pieces`` is
    the number of pieces of each place's manifest; places of older versions that did not count them are missing.
    """

    generation: int = 0
    attempt: Attempt | None = None
    aborted: tuple[int, ...] = ()
    purged: int = 0
    closed: int = 0
    swept: int = 0
    schema: int = field(default_factory=lambda: SCHEMA_VERSION)
    room: str = field(default_factory=lambda: str(SCHEMA_VERSION))
    left: tuple[str, ...] = ()
    places: Mapping[str, PlaceRecord] = field(default_factory=dict)
    pieces: Mapping[str, int] = field(default_factory=dict)

    def place(self, dataset: str, region: str) -> PlaceRecord:
        """Return the record of (dataset, Region)."""
        return self.places.get(place_name(dataset, region), PlaceRecord())

    def with_place(self, dataset: str, region: str, place: PlaceRecord) -> Head:
        """Return the head with another record of a place."""
        return replace(self, places={**self.places, place_name(dataset, region): place})

    def pieces_of(self, dataset: str, region: str) -> int | None:
        """Return the number of pieces of the manifest of (dataset, Region); None if they were not counted."""
        return self.pieces.get(place_name(dataset, region))

    def with_pieces(self, dataset: str, region: str, number: int) -> Head:
        """Return the head with another number of pieces."""
        return replace(self, pieces={**self.pieces, place_name(dataset, region): number})

    def known(self) -> set[tuple[str, str]]:
        """Return the (dataset, Region) pairs with commits."""
        return {tuple(json.loads(name)) for name, place in self.places.items() if place.generation}

    def regions(self) -> list[str]:
        """Return the Regions with documents."""
        return sorted({region for _, region in self.known()})

    def to_json(self) -> str:
        """The document."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Head:
        """Create a head from the text of :meth:`to_json`.

        Raises
        ------
        CatalogError
            If a newer version of this code wrote it.
        """
        known = {"schema": 1, "room": "1", **json.loads(text)}  # defaults for heads of the first version
        if known["schema"] > SCHEMA_VERSION or set(known) - {item.name for item in fields(cls)}:
            raise CatalogError(
                f"The catalog has a mapping of version {known['schema']}, but this code supports only {SCHEMA_VERSION}. "
                f"Another machine with a newer xdask_pipelines has migrated the catalog. Install that version here too"
            )
        known["left"] = tuple(known.get("left", ()))
        known["attempt"] = Attempt(**known["attempt"]) if known["attempt"] else None
        known["aborted"] = tuple(known["aborted"])
        known["places"] = {name: PlaceRecord(**place) for name, place in known["places"].items()}
        return cls(**known)


def place_name(dataset: str, region: str) -> str:
    """Return the name of a place in the head."""
    return json.dumps([dataset, region], ensure_ascii=False)


def _claimed(head: Head, *, token: str, dead: Attempt | None) -> Head:
    """Return the head with a new attempt, unless another writer has one and is alive; else the unchanged head."""
    if head.attempt is not None:
        if head.attempt.token == token or head.attempt != dead:
            return head
        head = replace(head, aborted=(*head.aborted, head.attempt.number))
    return replace(head, attempt=Attempt(max(head.generation, *head.aborted, 0) + 1, token))


class HeadDocument:
    """The head on a node; a head of an older schema is refused unless ``older`` is true."""

    def __init__(self, node: Node, *, older: bool = False) -> None:
        self._node, self._older = node, older
        self._index = f"{node.address.name}-head"

    def load(self) -> Head:
        """Return the head; an empty one if it does not exist yet."""
        return self._load()[0]

    def change(self, edit: Callable[[Head], Head]) -> Head:
        """Replace the head by the result of ``edit``.

        ``edit`` runs again if another writer was faster, or if only the answer was lost; it must then recognise that
        its change is already done. If it raises, the head stays unchanged; if it returns the same head, nothing is
        written.
        """
        for i in range(1_000):
            head, at = self._load()
            wanted = edit(head)
            if wanted == head and at is not None:
                return head
            try:
                self._write(wanted, at)
            except Conflict:
                pause(min(i, 4), _TURN_SECONDS)
            else:
                return wanted
        raise CatalogError(
            f"The catalog at {self._node.address} was changed by others at every attempt to write to it. Try again"
        )

    def begin(self) -> tuple[Head, Attempt]:
        """Become the only writer. The attempt of a writer without heartbeats is aborted after a timeout."""
        token = secrets.token_hex(16)
        head, since, tries = self.load(), time.monotonic(), 0
        while True:
            stuck = head.attempt if time.monotonic() - since > PATIENCE_SECONDS else None
            asked = time.monotonic()
            now = self.change(partial(_claimed, token=token, dead=stuck))
            if now.attempt is not None and now.attempt.token == token:
                return now, now.attempt
            # If this process had to wait for the node, the other writer may not have been able to send a heartbeat.
            if now.attempt != head.attempt or time.monotonic() - asked > _LIFE_SECONDS:
                since, tries = time.monotonic(), 0
            head = now
            pause(min(tries, 4), _TURN_SECONDS)
            tries += 1

    @contextmanager
    def alive(self, attempt: Attempt) -> Iterator[None]:
        """Send heartbeats for the duration of the ``with`` block."""
        over = threading.Event()

        def beat() -> None:
            with suppress(CatalogError):  # a lost attempt is reported when it is finished
                while not over.wait(_LIFE_SECONDS):
                    self._live(attempt)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _live(self, attempt: Attempt) -> None:
        def edit(head: Head) -> Head:
            assert head.attempt is not None
            return replace(head, attempt=replace(head.attempt, life=head.attempt.life + 1))

        self.amend(attempt, edit)

    def amend(self, attempt: Attempt, edit: Callable[[Head], Head]) -> Head:
        """Change the head during a commit, if the attempt is still the current one."""

        def own(head: Head) -> Head:
            self._own(head, attempt)
            return edit(head)

        return self.change(own)

    def finish(self, attempt: Attempt, edit: Callable[[Head], Head]) -> Head:
        """Make a commit visible, atomically with further changes."""

        def done(head: Head) -> Head:
            if head.generation >= attempt.number and attempt.number not in head.aborted:
                return head  # already done: only the answer was lost
            self._own(head, attempt)
            return replace(edit(head), generation=attempt.number, attempt=None)

        return self.change(done)

    def abort(self, attempt: Attempt, *, written: bool) -> None:
        """Abort a commit; its number is reused unless documents were written with it."""

        def edit(head: Head) -> Head:
            if head.attempt is None or head.attempt.token != attempt.token:
                return head
            aborted = (*head.aborted, attempt.number) if written else head.aborted
            return replace(head, attempt=None, aborted=aborted)

        self.change(edit)

    def _own(self, head: Head, attempt: Attempt) -> None:
        if head.attempt is None or head.attempt.token != attempt.token:
            raise StaleWriter(
                "This commit took so long without a heartbeat that another writer took over. Nothing was written; "
                "start again from the current catalog"
            )

    def _load(self) -> tuple[Head, tuple[int, int] | None]:
        def get(client: OpenSearch) -> tuple[str, tuple[int, int]]:
            document = client.get(index=self._index, id="head")
            return document["_source"]["head"], (document["_seq_no"], document["_primary_term"])

        try:
            text, at = self._node.ask(get)
        except LostIndex:
            self._refuse_orphans()
            return Head(), None
        head = Head.from_json(text)
        if head.schema < SCHEMA_VERSION and not self._older:
            raise CatalogError(
                f"The catalog at {self._node.address} has a mapping of version {head.schema}, but this code needs "
                f"{SCHEMA_VERSION}. Run `xdask catalog migrate` once; until then only older versions of this code can use it"
            )
        return head, at

    def _refuse_orphans(self) -> None:
        """Refuse a catalog with documents but without head: new commits would reuse the numbers of old ones."""
        name = self._node.address.name

        def indices(client: OpenSearch) -> list[str]:
            mappings = client.indices.get_mapping(index=f"{name}-*")
            return sorted(i for i, m in mappings.items() if m["mappings"].get("_meta") == {"catalog": name})

        kept = self._node.ask(indices)
        if kept:
            raise CatalogError(
                f"The catalog at {self._node.address} has lost its head, the index {self._index}, which records its "
                f"current state. Restore it from a snapshot; or delete {', '.join(kept)} too and run xdask sync, "
                f"which rebuilds the catalog from the data"
            )

    def _write(self, head: Head, at: tuple[int, int] | None) -> None:
        body = {"head": head.to_json()}
        if at is None:
            self._node.ask(self._create_index)
            self._node.ask(lambda c: c.create(index=self._index, id="head", body=body)["_seq_no"])
            return
        condition = {"if_seq_no": at[0], "if_primary_term": at[1]}
        self._node.ask(lambda c: c.index(index=self._index, id="head", body=body, params=condition)["_seq_no"])

    def _create_index(self, client: OpenSearch) -> None:
        if not client.indices.exists(index=self._index):
            body = {"settings": _SETTINGS, "mappings": _MAPPING}
            client.indices.create(index=self._index, body=body, params={"wait_for_active_shards": 1}, ignore=400)
