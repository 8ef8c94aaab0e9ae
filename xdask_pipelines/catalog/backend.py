"""What a store of the catalog must do: the seam behind which SQLite and, on AWS, a search service lie.

Belongs here: the protocol and the values that cross it. Does not belong here: how one store does it, or what is
offered to users (catalog.py). Every implementation passes the same contract tests.
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
    """Entries for which every name has one of its values.

    ``time`` is a half-open range of time keys that entries must overlap, ``bbox`` an extent that theirs must meet.
    Superseded versions are left out unless ``superseded``.
    """

    terms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time: tuple[int, int] | None = None
    bbox: Extent | None = None
    superseded: bool = False
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class ManifestChange:
    """How the manifest of one (dataset, Region) changes: objects to put, keys to drop."""

    put: Sequence[StoredObject] = ()
    drop: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Right of one owner to sync (dataset, Region) from the generation it saw; see :meth:`Backend.lease`."""

    dataset: str
    region: str
    owner: str
    generation: int
    token: str


@dataclass(frozen=True)
class Change:
    """One atomic commit: entries to write, others to remove.

    Attributes
    ----------
    upserts, removals
        Entries to write or to replace by id; ids to remove. They are kept as tuples.
    dataset, region
        The one place that this commit is about; needed for all that follows, and then other entries are refused.
    manifest
        How the place's manifest changes.
    holdings
        Fingerprint of the mounts' descriptions that the commit is made from; the one before holds on, if None.
    base_generation
        Generation of the place that the commit builds on.
    lease
        Lease of the place; the commit ends it.
    expected_entries
        How many entries, superseded ones too, the place must hold after the commit.
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
    """What the last commit left of one (dataset, Region): the base that a sync compares with.

    ``objects`` is the manifest, sorted by key: the objects behind entries, and no others. ``entries`` is how many of these
    the store holds, ``written_entries`` how many the commit left, None if it did not count. ``holdings`` is the fingerprint
    of the mounts' descriptions that the commit was made from. ``lost_objects`` says that a part of the manifest is gone.
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
        """Whether entries were lost or added behind the catalog's back."""
        return self.written_entries is not None and self.written_entries != self.entries

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Id of each entry to its :attr:`Entry.digest`; read when it is first asked for.

        Raises
        ------
        StaleWriter
            Another commit came meanwhile.
        """
        return self.read_digests()


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """An entry that was removed, and the commit that removed it."""

    id: str
    key: str
    part: str
    generation: int


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that a store holds of one (dataset, Region), each entry and tombstone with the generation that wrote it."""

    dataset: str
    region: str
    generation: int
    holdings: str
    entries: Sequence[Entry]
    objects: PackedObjects
    tombstones: Sequence[Tombstone]


class Backend(Protocol):
    """A store of entries. Reads see one commit, whole; a store that does not exist yet reads as empty."""

    def commit(self, change: Change) -> int:
        """Write all of a change or nothing; its generation, higher than any before.

        Raises
        ------
        StaleWriter
            (dataset, Region) is not at ``base_generation`` any more, or the lease is not the current one.
        CatalogError
            An id to remove is not there, counts do not agree, or the store cannot be written.
        """
        ...

    def search(self, query: Query) -> list[Entry]:
        """Matching entries sorted by dataset, Region, key, part."""
        ...

    def count(self, query: Query) -> int:
        """How many entries match."""
        ...

    def facets(self, names: Sequence[str], query: Query) -> dict[str, dict[str, int]]:
        """For each name the values among matching entries, sorted, and how many have each."""
        ...

    def names(self) -> dict[str, str]:
        """All names that entries can be found by, sorted, and their kind: field, facet or attribute."""
        ...

    def generation(self, dataset: str, region: str) -> int:
        """Last commit that touched (dataset, Region); 0 if none did."""
        ...

    def committed(self, dataset: str, region: str) -> Committed:
        """Generation, manifest and entry digests of (dataset, Region), of one moment."""
        ...

    def tombstones(self, dataset: str, region: str) -> list[Tombstone]:
        """Entries removed and not written again since, sorted by key and part."""
        ...

    def lease(self, dataset: str, region: str, owner: str) -> Lease:
        """Claim the right to sync (dataset, Region).

        A lease saves work, safety does not hang on it: commits check generation and token. It ends with the next
        commit to (dataset, Region) by anyone. While it lasts, another owner is refused once; if the holder
        shows no life (:meth:`renew`) until that owner asks again, the lease passes to it. So a killed
        sync blocks nobody for ever, and no machine's clock is compared with another's.

        Raises
        ------
        StaleWriter
            Another owner holds it, and has now been asked for a sign of life.
        """
        ...

    def renew(self, lease: Lease) -> None:
        """Show life, to be called now and then during long work.

        Raises
        ------
        StaleWriter
            The lease ended or passed to another; stop working.
        """
        ...

    def release(self, lease: Lease) -> None:
        """Give a lease back unused; nothing happens if it ended already."""
        ...

    def places(self) -> dict[tuple[str, str], int]:
        """Every (dataset, Region) that a commit has touched, and its last commit."""
        ...

    def fill(self, contents: Iterable[Contents], newest: int) -> None:
        """Write a whole catalog into a store that holds nothing, so that all of it becomes visible in one moment.

        Generations stay as they are; commits that follow have higher ones than ``newest``, the highest of them. What
        ``contents`` raises leaves the store empty, as does a process that is killed.

        Raises
        ------
        CatalogError
            The store holds something.
        """
        ...

    def migrate(self, tell: Callable[[str], None]) -> bool:
        """Bring a store of an older form to the present one, or do nothing; whether there was something to do.

        It may be killed at any moment and run again, and by several at once. Commits wait for it or are refused.
        """
        ...

    def repair(self) -> dict[tuple[str, str], int]:
        """Leave out what is damaged, so that what is sound can be read and a sync adds the rest; nothing if all is sound.

        Returns
        -------
        Entries that were lost, by (dataset, Region), ("", "") for those of unknown places; empty if nothing was damaged.
        """
        ...
