"""Copying a complete catalog to another store, with a comparison afterwards.

Belongs here: the steps of a copy, and the comparison. Does not belong here: reading and writing stores (backends).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from xdask_pipelines.catalog.backend import Backend, Contents, Query
from xdask_pipelines.catalog.manifest.packed_objects import digest_of
from xdask_pipelines.catalog.preconditions import check_empty
from xdask_pipelines.errors import CatalogError

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Digests:
    """Numbers and digests of one (dataset, Region), with which two stores are compared."""

    generation: int
    entries: int
    objects: int
    tombstones: int
    content: str


def copy_contents(source: Backend, target: Backend, tell: Tell = lambda line: None) -> dict[tuple[str, str], Digests]:
    """Copy a catalog into an empty store: entries of all versions, manifests, tombstones and generations.

    The copy becomes visible atomically when everything is written. A copy that is killed leaves the target empty, and
    may be run again.

    Parameters
    ----------
    source
        The store to copy. Syncs may continue, but make the copy fail.
    target
        A store that does not exist yet, or is empty.
    tell
        Called with a line of progress for each dataset and Region.

    Returns
    -------
    Numbers and digests of the copied content, by (dataset, Region).

    Raises
    ------
    CatalogError
        If the source is empty, the target is not empty, the source changed meanwhile, or the two differ afterwards.
    """
    places = source.places()
    if not places:
        raise CatalogError("The catalog to copy from is empty. Check its address, or run `xdask sync` instead.")
    check_empty(target.places())
    copied: dict[tuple[str, str], Digests] = {}

    def contents() -> Iterator[Contents]:
        for number, (dataset, region) in enumerate(sorted(places), 1):
            held = contents_of(source, dataset, region)
            copied[dataset, region] = seen = _digests(held)
            tell(
                f"{number} of {len(places)}: {dataset} in {region}: {seen.entries:,} entries of {seen.objects:,} files, "
                f"generation {seen.generation}"
            )
            yield held
        _refuse_changes(source, places)

    target.fill(contents(), max(places.values()))
    tell("comparing")
    for place, wanted in copied.items():
        found = _digests(contents_of(target, *place))
        if found != wanted:
            raise CatalogError(
                f"The copy differs from its source: {place[0]} in {place[1]} has {found}, not {wanted}. Do not use the "
                f"copy: delete it, then copy again"
            )
    if set(target.places()) != set(places):
        raise CatalogError("The copy has other datasets than its source. Do not use it: delete it, then copy again")
    return copied


def contents_of(store: Backend, dataset: str, region: str) -> Contents:
    """Return the complete content of one (dataset, Region) in a store."""
    committed = store.committed(dataset, region)
    query = Query(terms={"dataset": (dataset,), "region": (region,)}, superseded=True)
    return Contents(
        dataset=dataset,
        region=region,
        generation=committed.generation,
        holdings=committed.holdings,
        entries=store.search(query),
        objects=committed.objects,
        tombstones=store.tombstones(dataset, region),
    )


def _digests(held: Contents) -> Digests:
    digest = hashlib.blake2b(digest_size=16)
    for entry in held.entries:
        digest.update(f"{entry.generation} {entry.to_json()}\n".encode())
    for stone in held.tombstones:
        digest.update(f"{stone}\n".encode())
    digest.update(f"{held.holdings} {digest_of(held.objects.parts())}".encode())
    for obj in held.objects:
        digest.update(f"{obj.size_bytes} {obj.modified_ns}\n".encode())
    return Digests(
        generation=held.generation,
        entries=len(held.entries),
        objects=len(held.objects),
        tombstones=len(held.tombstones),
        content=digest.hexdigest(),
    )


def _refuse_changes(source: Backend, places: Mapping[tuple[str, str], int]) -> None:
    now = source.places()
    moved = sorted(place for place in now.keys() | places.keys() if now.get(place) != places.get(place))
    if moved:
        named = ", ".join(f"{dataset} in {region}" for dataset, region in moved)
        raise CatalogError(
            f"The catalog changed while it was copied: {named}. Nothing was written. Switch off the nightly sync and wait "
            f"for runs that write results, then copy again"
        )
