"""Evaluation of queries inside one SQLite transaction.

Belongs here: converting terms, keys and times to bits. Does not belong here: reading documents, or any change.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from xdask_pipelines.catalog.backend import Query
from xdask_pipelines.catalog.extent import meet
from xdask_pipelines.catalog.sqlite import bitmaps
from xdask_pipelines.catalog.sqlite.bitmaps import BLOCK_BITS, Bits
from xdask_pipelines.catalog.sqlite.sqlite_schema import EXTENT
from xdask_pipelines.catalog.sqlite.sqlite_seals import TIME_SUM, PlaceRow, damaged, places, postings, terms, terms_of


def matching(db: sqlite3.Connection, query: Query) -> Bits:
    """Return the slots of matching entries as bits.

    Raises
    ------
    DamagedRow
        If a row that is needed for the result is damaged.
    """
    internal = {term.value: term for term in terms(db, EXTENT)}
    every = postings(db, [internal["all"]])
    blocks = max((block for _, block, _ in every), default=0) + 1
    there = _together(every, blocks)
    bits = there
    for name, values in query.terms.items():
        if name == "key":
            some = _bits(_slots_of_keys(db, values), blocks)
        else:
            some = _together(postings(db, terms_of(db, name, values)), blocks)
        bits = bits & some
        if (some & ~there).any():
            raise damaged(f"the set of entries of some {name}")
        if not bits.any():
            return bits
    if not query.superseded:
        bits = bits & ~_together(postings(db, [internal["superseded"]]), blocks)
    if query.bbox is not None:
        box = query.bbox
        grids = [t for t in internal.values() if t.value[:1] == "[" and meet(tuple(json.loads(t.value)), box)]
        bits = bits & _together(postings(db, grids), blocks)
    if query.time is not None:
        bits = _bits(_slots_in_time(db, bitmaps.rows(bits), query.time), blocks)
    return bits


def _together(found: Iterable[tuple[int, int, bytes]], blocks: int) -> Bits:
    blobs = [(block, bits) for _, block, bits in found]
    if any(block >= blocks for block, _ in blobs):
        raise damaged("a set of entries")
    return bitmaps.union(blobs, blocks)


def _slots_of_keys(db: sqlite3.Connection, keys: Sequence[str]) -> Iterator[int]:
    """Iterate over the slots of entries with given keys; keys that are not in the index are searched in the table."""
    wanted = set(keys)
    among = "key IN (SELECT value FROM json_each(?))"
    rows = db.execute(f"SELECT slot, key FROM entries WHERE {among}", (json.dumps([*wanted]),)).fetchall()
    if missing := wanted - {key for _, key in rows}:
        listed = json.dumps([*missing])
        if db.execute(f"SELECT 1 FROM entries NOT INDEXED WHERE {among} LIMIT 1", (listed,)).fetchone():
            raise damaged("the index of keys")
    return (slot for slot, _ in rows)


def _slots_in_time(db: sqlite3.Connection, slots: list[int], time: tuple[int, int]) -> list[int]:
    """Return those slots whose entries overlap a range of time keys."""
    number, sound, slots_found = db.execute(
        f"SELECT count(*), coalesce(sum(time_sum IS {TIME_SUM}), 0), "
        "json_group_array(slot) FILTER (WHERE time_start < ? AND time_end > ?) "
        "FROM entries WHERE slot IN (SELECT value FROM json_each(?))",
        (time[1], time[0], json.dumps(slots)),
    ).fetchone()
    if number != len(slots) or sound != number:
        raise damaged("the time of some entry")
    overlapping: list[int] = json.loads(slots_found)
    return overlapping


def _bits(slots: Iterable[int], blocks: int) -> Bits:
    parts = ((block, bitmaps.edit(None, offsets, ())) for block, offsets in by_block(slots).items())
    return bitmaps.union(((block, blob) for block, blob in parts if blob is not None), blocks)


def by_block(slots: Iterable[int]) -> dict[int, list[int]]:
    """Return the offsets of slots by block."""
    blocks: defaultdict[int, list[int]] = defaultdict(list)
    for slot in slots:
        blocks[slot // BLOCK_BITS].append(slot % BLOCK_BITS)
    return blocks


def places_of(db: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Return places with commits, and their last commits."""
    return {at: place.generation for at, place in places(db).items() if place.generation}


def place_of(db: sqlite3.Connection, dataset: str, region: str) -> PlaceRow:
    """Return the state of (dataset, Region) after its last commit."""
    return places(db).get((dataset, region), PlaceRow())
