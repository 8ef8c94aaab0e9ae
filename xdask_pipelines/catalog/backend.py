"""The interface of stores of the catalog, which SQLite and OpenSearch implement.

Belongs here: the protocol, and the types of its arguments and results. Does not belong here: implementations, the
interface for users (catalog.py). All implementations pass the same contract tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Protocol

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.extent import Extent
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query for entries in which every name has one of its values.

    ``time`` is a half-open range of time keys that entries must overlap, ``bbox`` an extent that must intersect theirs.
    Superseded versions are included only if ``superseded`` is true.
    """

    terms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time: tuple[int, int] | None = None
    bbox: Extent | None = None
    superseded: bool = False
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class ManifestChange:
    """Changes of the manifest of one (dataset, Region): objects to put, keys to drop."""

    put: Sequence[StoredObject] = ()
    drop: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right of one owner to sync (dataset, Region) from the current generation; see :meth:`Backend.lease`."""

    dataset: str
    region: str
    owner: str
    generation: int
    token: str


@dataclass(frozen=True)
class Change:
    """One atomic commit: entries to write and entries to remove.

    Attributes
    ----------
    upserts, removals
        Entries to write, or to replace by id; ids to remove. Both are stored as tuples.
    dataset, region
        The place of this commit. It is required for all following attributes; entries of other places are then refused.
    manifest
        Changes of the place's manifest.
    holdings
        Fingerprint of the mounts' descriptions; None keeps the previous one.
    base_generation
        Generation of the place on which the commit is based.
    lease
        Lease of the place, which the commit ends.
    expected_entries
        Number of entries, including superseded ones, that the place must have after the commit.
    """

    upserts: Sequence[Entry] = ()
    removals: Sequence[str] = ()
    _: KW_ONLY
    dataset: str | None = None
    region: str | None = None
    manifest: ManifestChange | None = None
    holdings: str | None = None
    base_generation: int | None = None
    lease: Lease | None = None
    expected_entries: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "upserts", tuple(self.upserts))
        object.__setattr__(self, "removals", tuple(self.removals))


@dataclass(frozen=True, kw_only=True)
class Committed:
    """The state of one (dataset, Region) after its last commit, with which a sync compares.

    ``objects`` is the manifest, sorted by key: all objects of entries, and no others. ``entries`` is the number of
    entries in the store, ``written_entries`` the number after the commit, or None if the commit did not count them.
    ``holdings`` is the fingerprint of the mounts' descriptions. ``lost_objects`` is true if a part of the manifest is
    missing.
    """

    generation: int = 0
    objects: PackedObjects = field(default_factory=PackedObjects)
    entries: int = 0
    written_entries: int | None = None
    holdings: str = ""
    lost_objects: bool = False
    read_digests: Callable[[], Mapping[str, str]] = dict

    @property
    def lost_entries(self) -> bool:
        """Whether entries were lost, or added without a commit."""
        return self.written_entries is not None and self.written_entries != self.entries

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Return the :attr:`Entry.digest` of each entry by id; it is read on first use.

        Raises
        ------
        StaleWriter
            If another commit was made meanwhile.
        """
        return self.read_digests()


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """A removed entry, and the commit that removed it."""

    id: str
    key: str
    part: str
    generation: int


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The complete content of one (dataset, Region); each entry and tombstone has the generation that wrote it."""

    dataset: str
    region: str
    generation: int
    holdings: str
    entries: Sequence[Entry]
    objects: PackedObjects
    tombstones: Sequence[Tombstone]


class Backend(Protocol):
    """A store of entries. Reads see exactly one commit; a store that does not exist yet reads as empty."""

    def commit(self, change: Change) -> int:
        """Write a change atomically, and return its generation, which is higher than all before.

        Raises
        ------
        StaleWriter
            If (dataset, Region) is no longer at ``base_generation``, or the lease is not the current one.
        CatalogError
            If an id to remove does not exist, counts do not agree, or the store cannot be written.
        """
        ...

    def search(self, query: Query) -> list[Entry]:
        """Return matching entries, sorted by dataset, Region, key and part."""
        ...

    def count(self, query: Query) -> int:
        """Return the number of matching entries."""
        ...

    def facets(self, names: Sequence[str], query: Query) -> dict[str, dict[str, int]]:
        """Return the sorted values of each name among matching entries, with the number of entries for each."""
        ...

    def names(self) -> dict[str, str]:
        """Return all names that can be searched, sorted, and their kind: field, facet or attribute."""
        ...

    def generation(self, dataset: str, region: str) -> int:
        """Return the last commit of (dataset, Region); 0 if none."""
        ...

    def committed(self, dataset: str, region: str) -> Committed:
        """Return generation, manifest and entry digests of (dataset, Region), from one commit."""
        ...

    def tombstones(self, dataset: str, region: str) -> list[Tombstone]:
        """Return entries that were removed and not written again, sorted by key and part."""
        ...

    def lease(self, dataset: str, region: str, owner: str) -> Lease:
        """Acquire the lease to sync (dataset, Region).

        Leases avoid duplicate work; consistency does not depend on them, because commits check generation and token. A
        lease ends with the next commit to (dataset, Region). While a lease is held, another owner is refused the first
        time; if there is no heartbeat (:meth:`renew`) of the holder before that owner asks again, the lease passes to
        it. A killed sync therefore does not block others forever, and clocks of machines are not compared.

        Raises
        ------
        StaleWriter
            If another owner holds the lease. The holder must now send a heartbeat to keep it.
        """
        ...

    def renew(self, lease: Lease) -> None:
        """Send a heartbeat; call it regularly during long work.

        Raises
        ------
        StaleWriter
            If the lease has ended or passed to another owner. The caller must stop.
        """
        ...

    def release(self, lease: Lease) -> None:
        """Release a lease without a commit; nothing happens if it has already ended."""
        ...

    def places(self) -> dict[tuple[str, str], int]:
        """Return every (dataset, Region) with commits, and its last commit."""
        ...

    def fill(self, contents: Iterable[Contents], newest: int) -> None:
        """Write a whole catalog into an empty store, as one atomic change.

        Generations are kept; later commits get higher ones than ``newest``, the highest of them. If ``contents`` raises
        or the process is killed, the store stays empty.

        Raises
        ------
        CatalogError
            If the store is not empty.
        """
        ...

    def migrate(self, tell: Callable[[str], None]) -> bool:
        """Migrate a store of an older version to the current one; return whether this was necessary.

        A migration may be killed and run again, also by several processes at once. Commits wait or are refused.
        """
        ...

    def repair(self) -> dict[tuple[str, str], int]:
        """Drop damaged entries, so that the others can be read and a sync can add the missing ones.

        Returns
        -------
        Number of lost entries by (dataset, Region), with ("", "") for unknown places; empty if nothing was damaged.
        """
        ...
