"""What became of a place since its last commit: from objects to entries that are new, changed or gone.

Belongs here: comparing, and looking at as little as that takes. Does not belong here: whether it can be true, committing
(sync).

Of a layout in which every object is an entry, only objects that changed are looked at: of a million files, the
unchanged ones cost a microsecond each and not the twenty of an entry. Stores are always looked at whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from xdask_pipelines.catalog.backend import Committed
from xdask_pipelines.catalog.columns import Listing
from xdask_pipelines.catalog.entry import Entry, entry_id
from xdask_pipelines.catalog.layouts import LAYOUTS, Holding, Quarantined, fingerprint, parse
from xdask_pipelines.catalog.streams import Packed, difference, digest_of, rising

Mounts = Sequence[tuple[Holding, Packed]]


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Outcome of a comparison.

    Attributes
    ----------
    added, changed, removed, unchanged, quarantined
        As in `sync.SyncPlan`.
    put, drop
        How the manifest changes.
    gone
        Keys that the manifest knows and that were not listed.
    known
        Keys of ``put`` that the manifest knows.
    listed
        Usable objects: those behind new and changed entries, perhaps others.
    state
        Digest of keys and ETags behind entries, and of the mounts' descriptions.
    holdings
        Fingerprint of the mounts' descriptions.
    """

    added: tuple[Entry, ...]
    changed: tuple[Entry, ...]
    removed: tuple[str, ...]
    unchanged: int
    quarantined: tuple[Quarantined, ...]
    put: Listing
    drop: tuple[str, ...]
    gone: tuple[str, ...]
    known: frozenset[str]
    listed: Listing
    state: str
    holdings: str


def differences(mounts: Mounts, committed: Committed) -> Differences:
    """Compare the mounts of one (dataset, Region) with its last commit."""
    holdings = fingerprint([holding for holding, _ in mounts])
    by_file = all(LAYOUTS[holding.layout].by_file(holding) for holding, _ in mounts)
    # Entries without an object behind them were brought in by an import.
    if by_file and committed.holdings == holdings and committed.entries == len(committed.objects):
        return _of_changed_files(mounts, committed, holdings)
    return _of_everything(mounts, committed, holdings)


def _usable(mounts: Mounts) -> Iterator[Listing]:
    """Objects without a problem, sorted by key: no mount lies in another one."""
    in_order = sorted(mounts, key=lambda mount: f"{mount[0].mount}/")
    parts = chain.from_iterable(objects.parts() for _, objects in in_order)
    return rising(
        (part.usable() for part in parts), f"{' and '.join(h.mount for h, _ in in_order)} in {mounts[0][0].region}"
    )


def _of_changed_files(mounts: Mounts, committed: Committed, holdings: str) -> Differences:
    put, gone, known = difference(_usable(mounts), committed.objects.parts())
    entries: dict[str, Entry] = {}
    quarantined: list[Quarantined] = []
    for holding, objects in mounts:
        problems = chain.from_iterable(part.problems() for part in objects.parts())
        found, refused = parse([*put.below(holding.mount), *problems], holding)
        entries.update((entry.key, entry) for entry in found)
        quarantined += refused
    no_longer = sorted(known - entries.keys())
    added = tuple(entry for key, entry in entries.items() if key not in known)
    changed = tuple(entry for key, entry in entries.items() if key in known)
    place = mounts[0][0]
    removed = sorted(entry_id(place.dataset, place.region, key) for key in (*gone, *no_longer))
    return Differences(
        added=added,
        changed=changed,
        removed=tuple(removed),
        unchanged=len(committed.objects) - len(changed) - len(removed),
        quarantined=tuple(sorted(quarantined)),
        put=put.only(entries.keys()),
        drop=tuple(sorted([*gone, *no_longer])),
        gone=tuple(gone),
        known=frozenset(known & entries.keys()),
        listed=put,
        state=digest_of(_usable(mounts), without={item.key for item in put} - entries.keys()) + holdings,
        holdings=holdings,
    )


def _of_everything(mounts: Mounts, committed: Committed, holdings: str) -> Differences:
    listed = Listing.in_order(_usable(mounts))
    entries: dict[str, Entry] = {}
    quarantined: list[Quarantined] = []
    for holding, objects in mounts:
        found, refused = parse(objects, holding)
        entries.update((entry.id, entry) for entry in found)
        quarantined += refused
    digests = committed.digests
    behind = listed.behind(sorted(entry.key for entry in entries.values()))
    put, drop, known = difference([behind], committed.objects.parts())
    gone = set(drop) - {item.key for item in listed.only(drop)}
    added = tuple(entry for i, entry in entries.items() if i not in digests)
    changed = tuple(entry for i, entry in entries.items() if i in digests and digests[i] != entry.digest)
    return Differences(
        added=added,
        changed=changed,
        removed=tuple(sorted(digests.keys() - entries.keys())),
        unchanged=len(entries) - len(added) - len(changed),
        quarantined=tuple(sorted(quarantined)),
        put=put,
        drop=tuple(drop),
        gone=tuple(sorted(gone)),
        known=frozenset(known),
        listed=listed,
        state=digest_of([behind]) + holdings,
        holdings=holdings,
    )
