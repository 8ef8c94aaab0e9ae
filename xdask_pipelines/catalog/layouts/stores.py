"""Objects that together are Zarr stores: which belong to which, and which stores are whole.

Belongs here: telling stores by the names of their metadata objects. Does not belong here: what a store's path means.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from xdask_pipelines.catalog.layouts.base import Quarantined
from xdask_pipelines.catalog.manifest.listing import StoredObject

_V2, _V3 = ".zmetadata", "zarr.json"  # names of the objects that make a folder a store
_HALF = (".zgroup", ".zarray")
#: An object of such a name says of its folder, and so of all below it, whether it is a store.
MARKS = frozenset({_V2, _V3, *_HALF})


@dataclass(frozen=True)
class Store:
    """One whole store, as if it were one object: its folder, sum of sizes, digest over all, latest modification."""

    whole: StoredObject
    format: Literal["zarr2", "zarr3"]


def stores_of(
    objects: Iterable[StoredObject], unusable: Iterable[Quarantined] = ()
) -> tuple[list[Store], list[Quarantined]]:
    """Stores among usable objects sorted by key, and what is none.

    A Zarr v2 store is a folder with consolidated metadata (``.zmetadata``). A Zarr v3 store is the outermost of folders
    that lie directly in one another and each hold a ``zarr.json``: groups and arrays of one store do so without a gap.
    Quarantined are stores in one another, stores without metadata or with metadata of both versions, single arrays,
    stores that hold an unusable object (without it they would read as fill values), and objects of no store.
    """
    listed = list(objects)
    marks: dict[str, dict[str, StoredObject]] = defaultdict(dict)
    for item in listed:
        folder, _, name = item.key.rpartition("/")
        if folder and name in MARKS:
            marks[folder][name] = item
    roots = {
        folder for folder, found in marks.items() if _V2 in found or (_V3 in found and not _is_inside(folder, marks))
    }
    reasons = dict(_bad_roots(roots, marks))
    members: dict[str, list[StoredObject]] = {root: [] for root in roots}
    for bad in unusable:
        for root in roots.intersection(_folders(bad.key)):
            reasons.setdefault(root, f"its {bad.key[len(root) + 1 :]} cannot be used: {bad.reason}")
    at: dict[str, tuple[list[str], str]] = {}
    for item in listed:
        folder = item.key.rpartition("/")[0]
        if folder not in at:
            above = list(_folders(folder))
            at[folder] = [f for f in above if f in roots], next((f for f in above if f in marks), "")
        inside, half_written = at[folder]
        if len(inside) > 1:
            reasons |= dict.fromkeys(inside, f"stores lie in one another: {' and '.join(inside)}")
        elif inside:
            members[inside[0]].append(item)
        elif half_written:
            reasons[half_written] = "it is a store without .zmetadata, half-written or not consolidated"
        else:
            reasons[item.key] = "it belongs to no Zarr store"
    whole = [_store(root, members[root], marks[root]) for root in sorted(roots) if root not in reasons]
    return whole, [Quarantined(key, reason) for key, reason in sorted(reasons.items())]


def _is_inside(folder: str, marks: dict[str, dict[str, StoredObject]]) -> bool:
    """Whether a folder with a ``zarr.json`` is a group or array of the store around it."""
    return _V3 in marks.get(folder.rpartition("/")[0], {})


def _bad_roots(roots: set[str], marks: dict[str, dict[str, StoredObject]]) -> Iterator[tuple[str, str]]:
    with_arrays = {folder.rpartition("/")[0] for folder, found in marks.items() if _V3 in found}
    for root in roots:
        found = marks[root]
        if _V2 in found and _V3 in found:
            yield root, f"it has metadata of Zarr v2 ({_V2}) and v3 ({_V3}); keep those of one"
        elif empty := [name for name in (_V2, _V3) if name in found and found[name].size_bytes == 0]:
            yield root, f"its {empty[0]} is empty"
        elif _V3 in found and root not in with_arrays:
            yield (
                root,
                f"it is a single array or an empty group: the {_V3} of a store above it is missing, or not yet written",
            )


def _store(root: str, members: list[StoredObject], marks: dict[str, StoredObject]) -> Store:
    digest = hashlib.blake2b(digest_size=16)
    for item in members:
        for text in (item.key[len(root) + 1 :], item.etag):
            data = text.encode("utf-8")
            digest.update(len(data).to_bytes(8, "big") + data)
    size = sum(item.size_bytes for item in members)
    modified = max(item.modified_ns for item in members)
    return Store(StoredObject(root, size, digest.hexdigest(), modified), "zarr2" if _V2 in marks else "zarr3")


def _folders(path: str) -> Iterator[str]:
    """The path and the folders above it, the outermost first."""
    parts = path.split("/")
    return ("/".join(parts[:i]) for i in range(1, len(parts) + 1))
