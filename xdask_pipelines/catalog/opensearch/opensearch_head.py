"""The head of a catalog in OpenSearch: one document that says which commits are true, changed only as a whole.

Entries carry the generations from and until which they hold; the head says up to which generation readers look. So a commit
of a million documents becomes visible in the one moment in which the head changes, and one that dies before was never there.

Belongs here: the head, who may write, and leases on places. Does not belong here: entries.
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

#: Of the mapping (opensearch_query) that this code writes and reads. A catalog of an older one is to be migrated.
SCHEMA_VERSION = 3
#: A writer that shows no life for so long, by the clock of the one who waits, is taken to be dead.
PATIENCE_SECONDS = 10.0
_LIFE_SECONDS = 2.0
_TURN_SECONDS = 0.01
_SETTINGS = {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}}
_MAPPING = {"dynamic": "strict", "properties": {"head": {"type": "keyword", "index": False, "doc_values": False}}}


@dataclass(frozen=True)
class PlaceRecord:
    """One (dataset, Region): its last commit, how many entries it left, and who may sync it.

    ``entries`` is None where a version that did not count wrote the last commit.
    """

    generation: int = 0
    entries: int | None = None
    holdings: str = ""
    owner: str | None = None
    token: str | None = None
    challenger: str | None = None


@dataclass(frozen=True)
class Attempt:
    """A commit under way: its number, the token of its writer, and a count that grows while the writer lives."""

    number: int
    token: str
    life: int = 0


@dataclass(frozen=True)
class Head:
    """What is true now.

    ``aborted`` are numbers of commits that died: what they wrote never counts. ``purged``: documents that ended at
    or before this generation may be gone. ``closed``: how many documents ended since. ``swept``: what so many of
    ``aborted`` left behind has been removed. ``schema`` is the version of the mapping, ``room`` names the set of indices
    that documents lie in, ``left`` the rooms that were left and may still be there. ``pieces``: of how many pieces the
    manifest of a place is made; a place that a version wrote which did not count is not in it.
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
        """What is known of (dataset, Region)."""
        return self.places.get(place_name(dataset, region), PlaceRecord())

    def with_place(self, dataset: str, region: str, place: PlaceRecord) -> Head:
        """The same head with another place."""
        return replace(self, places={**self.places, place_name(dataset, region): place})

    def pieces_of(self, dataset: str, region: str) -> int | None:
        """Number of pieces of the manifest of (dataset, Region); None if they were not counted."""
        return self.pieces.get(place_name(dataset, region))

    def with_pieces(self, dataset: str, region: str, number: int) -> Head:
        """Return the same head with another number of pieces."""
        return replace(self, pieces={**self.pieces, place_name(dataset, region): number})

    def known(self) -> set[tuple[str, str]]:
        """Datasets and Regions that a commit has touched."""
        return {tuple(json.loads(name)) for name, place in self.places.items() if place.generation}

    def regions(self) -> list[str]:
        """Regions that hold documents."""
        return sorted({region for _, region in self.known()})

    def to_json(self) -> str:
        """The document."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Head:
        """What :meth:`to_json` wrote.

        Raises
        ------
        CatalogError
            A newer version of this code wrote it.
        """
        known = {"schema": 1, "room": "1", **json.loads(text)}  # the first version did not say so
        if known["schema"] > SCHEMA_VERSION or set(known) - {item.name for item in fields(cls)}:
            raise CatalogError(
                f"The catalog has a mapping of version {known['schema']}, and this code knows {SCHEMA_VERSION}. "
                f"Another machine has a newer xdask_pipelines and migrates the catalog: install that version here too"
            )
        known["left"] = tuple(known.get("left", ()))
        known["attempt"] = Attempt(**known["attempt"]) if known["attempt"] else None
        known["aborted"] = tuple(known["aborted"])
        known["places"] = {name: PlaceRecord(**place) for name, place in known["places"].items()}
        return cls(**known)


def place_name(dataset: str, region: str) -> str:
    """Name of a place in the head."""
    return json.dumps([dataset, region], ensure_ascii=False)


def _claimed(head: Head, *, token: str, dead: Attempt | None) -> Head:
    """The head with an attempt of one's own, if there is none but that of a dead writer; else the same head."""
    if head.attempt is not None:
        if head.attempt.token == token or head.attempt != dead:
            return head
        head = replace(head, aborted=(*head.aborted, head.attempt.number))
    return replace(head, attempt=Attempt(max(head.generation, *head.aborted, 0) + 1, token))


class HeadDocument:
    """The head on a node; one of an older schema is refused unless ``older``."""

    def __init__(self, node: Node, *, older: bool = False) -> None:
        self._node, self._older = node, older
        self._index = f"{node.address.name}-head"

    def load(self) -> Head:
        """The head; an empty one if there is none yet."""
        return self._load()[0]

    def change(self, edit: Callable[[Head], Head]) -> Head:
        """Replace the head by what ``edit`` makes of it.

        ``edit`` runs again whenever another writer was faster, and also where only the answer was lost: it must then see
        that its work is done. What it raises leaves the head as it is; returning the same head writes nothing.
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
        raise CatalogError(f"The catalog at {self._node.address} changes too fast to be written to; try again")

    def begin(self) -> tuple[Head, Attempt]:
        """Become the one writer. A dead one's commit is aborted, after a wait in which it could have shown life."""
        token = secrets.token_hex(16)
        head, since, tries = self.load(), time.monotonic(), 0
        while True:
            stuck = head.attempt if time.monotonic() - since > PATIENCE_SECONDS else None
            asked = time.monotonic()
            now = self.change(partial(_claimed, token=token, dead=stuck))
            if now.attempt is not None and now.attempt.token == token:
                return now, now.attempt
            # Where this process had to wait for the node, the other writer had to, and could not show life.
            if now.attempt != head.attempt or time.monotonic() - asked > _LIFE_SECONDS:
                since, tries = time.monotonic(), 0
            head = now
            pause(min(tries, 4), _TURN_SECONDS)
            tries += 1

    @contextmanager
    def alive(self, attempt: Attempt) -> Iterator[None]:
        """Show life for the block, however long it takes."""
        over = threading.Event()

        def beat() -> None:
            with suppress(CatalogError):  # a lost attempt is told when it is to be finished
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
        """Change the head during a commit, as long as the attempt is the current one."""

        def own(head: Head) -> Head:
            self._own(head, attempt)
            return edit(head)

        return self.change(own)

    def finish(self, attempt: Attempt, edit: Callable[[Head], Head]) -> Head:
        """Make a commit true, with what else changes in the same moment."""

        def done(head: Head) -> Head:
            if head.generation >= attempt.number and attempt.number not in head.aborted:
                return head  # only the answer was lost
            self._own(head, attempt)
            return replace(edit(head), generation=attempt.number, attempt=None)

        return self.change(done)

    def abort(self, attempt: Attempt, *, written: bool) -> None:
        """Give up a commit; its number is used again unless something was written with it."""

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
            found = client.get(index=self._index, id="head")
            return found["_source"]["head"], (found["_seq_no"], found["_primary_term"])

        try:
            text, at = self._node.ask(get)
        except LostIndex:
            self._refuse_orphans()
            return Head(), None
        head = Head.from_json(text)
        if head.schema < SCHEMA_VERSION and not self._older:
            raise CatalogError(
                f"The catalog at {self._node.address} has a mapping of version {head.schema}, and this code needs "
                f"{SCHEMA_VERSION}. Run `xdask catalog migrate` once; until then older versions of this code can use it"
            )
        return head, at

    def _refuse_orphans(self) -> None:
        """Without a head there must be no documents: commits of a new one would have the numbers of old ones."""
        name = self._node.address.name

        def indices(client: OpenSearch) -> list[str]:
            found = client.indices.get_mapping(index=f"{name}-*")
            return sorted(i for i, m in found.items() if m["mappings"].get("_meta") == {"catalog": name})

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
