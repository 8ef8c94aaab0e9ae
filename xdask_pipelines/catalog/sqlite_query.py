"""Which entries a query means, computed inside one SQLite transaction.

Belongs here: from terms, keys and times to bits. Does not belong here: reading documents, or any change.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable

from xdask_pipelines.catalog import bitmaps
from xdask_pipelines.catalog.backend import Query
from xdask_pipelines.catalog.bitmaps import BLOCK_BITS, Bits
from xdask_pipelines.catalog.extent import Extent, meet
from xdask_pipelines.catalog.sqlite_file import ALL, EXTENT, SUPERSEDED


def matching(db: sqlite3.Connection, query: Query) -> Bits:
    """Slots of the entries that match."""
    (last,) = db.execute("SELECT coalesce(max(slot), 0) FROM entries").fetchone()
    blocks = last // BLOCK_BITS + 1
    bits: Bits | None = None
    for name, values in query.terms.items():
        listed = json.dumps(values)
        if name == "key":
            found = db.execute("SELECT slot FROM entries WHERE key IN (SELECT value FROM json_each(?))", (listed,))
            some = _bits((slot for (slot,) in found), blocks)
        else:
            some = bitmaps.union(
                db.execute(
                    "SELECT block, bits FROM terms JOIN postings USING (term) "
                    "WHERE name = ? AND value IN (SELECT value FROM json_each(?))",
                    (name, listed),
                ),
                blocks,
            )
        bits = some if bits is None else bits & some
        if not bits.any():
            return bits
    if bits is None:
        bits = _internal(db, ALL, blocks)
    if not query.superseded:
        bits &= ~_internal(db, SUPERSEDED, blocks)
    if query.bbox is not None:
        bits &= _lying_in(db, query.bbox, blocks)
    if query.time is not None:
        start, end = query.time
        found = db.execute(
            "SELECT slot FROM entries WHERE slot IN (SELECT value FROM json_each(?)) "
            "AND time_start < ? AND time_end > ?",
            (json.dumps(bitmaps.rows(bits)), end, start),
        )
        bits = _bits((slot for (slot,) in found), blocks)
    return bits


def _lying_in(db: sqlite3.Connection, bbox: Extent, blocks: int) -> Bits:
    grids = db.execute("SELECT term, value FROM terms WHERE name = ? AND value LIKE '[%'", (EXTENT,))
    meeting = json.dumps([term for term, value in grids if meet(tuple(json.loads(value)), bbox)])
    wanted = "term IN (SELECT value FROM json_each(?))"
    return bitmaps.union(db.execute(f"SELECT block, bits FROM postings WHERE {wanted}", (meeting,)), blocks)


def _internal(db: sqlite3.Connection, term: int, blocks: int) -> Bits:
    return bitmaps.union(db.execute("SELECT block, bits FROM postings WHERE term = ?", (term,)), blocks)


def _bits(slots: Iterable[int], blocks: int) -> Bits:
    parts = ((block, bitmaps.edit(None, offsets, ())) for block, offsets in by_block(slots).items())
    return bitmaps.union(((block, blob) for block, blob in parts if blob is not None), blocks)


def by_block(slots: Iterable[int]) -> dict[int, list[int]]:
    """Offsets of slots by the block they are in."""
    blocks: defaultdict[int, list[int]] = defaultdict(list)
    for slot in slots:
        blocks[slot // BLOCK_BITS].append(slot % BLOCK_BITS)
    return blocks


def places_of(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Places that a commit has touched, and their last commits."""
    rows = db.execute("SELECT dataset, region, generation FROM places WHERE generation > 0").fetchall()
    return {(dataset, region): generation for dataset, region, generation in rows}


def generation_of(db: sqlite3.Connection, dataset: str, region: str) -> int:
    """Last commit that touched (dataset, Region); 0 if none did."""
    row = db.execute("SELECT generation FROM places WHERE dataset = ? AND region = ?", (dataset, region)).fetchone()
    return int(row[0]) if row else 0
