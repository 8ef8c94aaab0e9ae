"""Manifests as they are kept: sorted pieces of some ten thousand objects, each a Parquet table, of which a commit
replaces those that it touches.

Belongs here: pieces, and how a change cuts and joins them. Does not belong here: where they lie, or when one is true.

A million objects are 50 pieces of 20 bytes an object: read in half a second, where rows of a table take four.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from xdask_pipelines.catalog.backend import ManifestChange
from xdask_pipelines.catalog.columns import Listing
from xdask_pipelines.catalog.listing import StoredObject

PIECE_ROWS = 20_000


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


def changed(before: Listing, change: ManifestChange) -> list[Listing]:
    """What becomes of a piece: none, one, or several where it grew too long."""
    put = Listing.of(sorted(change.put))
    stays = before.without([*change.drop, *(item.key for item in put)])
    whole = Listing.joined([stays, put])
    rows = len(whole) if len(whole) <= 2 * PIECE_ROWS else PIECE_ROWS
    return [whole[i : i + rows] for i in range(0, len(whole), max(rows, 1))]
