"""Manifests in OpenSearch: sorted pieces of some ten thousand objects, each a Parquet table, of which a commit
replaces those that it touches.

Belongs here: pieces, and how a change cuts and joins them. Does not belong here: requests, or when a piece is true.
"""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from xdask_pipelines.catalog.backend import ManifestChange
from xdask_pipelines.catalog.columns import Listing
from xdask_pipelines.catalog.listing import StoredObject

PIECE_ROWS = 20_000


def packed(objects: Sequence[StoredObject]) -> str:
    """A piece as text."""
    return base64.b64encode(Listing.of(objects).packed()).decode("ascii")


def unpacked(rows: str) -> Listing:
    """What `packed` wrote."""
    return Listing.unpacked(base64.b64decode(rows))


def touched(first_keys: Sequence[str], change: ManifestChange) -> dict[int, ManifestChange]:
    """The part of a change that falls to each piece, by the piece's place among ``first_keys`` (sorted)."""
    put: defaultdict[int, list[StoredObject]] = defaultdict(list)
    drop: defaultdict[int, list[str]] = defaultdict(list)

    def piece(key: str) -> int:
        return max(0, bisect_right(first_keys, key) - 1)

    for item in change.put:
        put[piece(item.key)].append(item)
    for key in change.drop:
        drop[piece(key)].append(key)
    return {i: ManifestChange(put=put[i], drop=drop[i]) for i in sorted(put.keys() | drop.keys())}


def changed(before: Iterable[StoredObject], change: ManifestChange) -> list[list[StoredObject]]:
    """What becomes of a piece: none, one, or several where it grew too long."""
    objects: Mapping[str, StoredObject] = {item.key: item for item in before}
    gone = set(change.drop)
    kept = {key: item for key, item in objects.items() if key not in gone} | {item.key: item for item in change.put}
    ordered = [kept[key] for key in sorted(kept)]
    rows = len(ordered) if len(ordered) <= 2 * PIECE_ROWS else PIECE_ROWS
    return [ordered[i : i + rows] for i in range(0, len(ordered), max(rows, 1))]
