"""Seals: digests of whole rows of the SQLite file, with which flipped bits are detected.

Belongs here: seals, and reading rows with checks. Does not belong here: the meaning of rows (sqlite_query), repairs
(sqlite_repair).

SQLite checks the structure of its pages, not their content. A seal detects a changed row. Missing rows are detected by
counts: of names, of the values of each name, of the blocks of each value, of the pieces of each manifest. A damaged
index is detected because a value that is not found is also searched among all values of its name.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from xdask_pipelines.errors import CatalogError
from xdask_pipelines.system.quoting import in_python

#: Columns that a seal covers, by table.
SEALED = {
    "entries": "slot, id, dataset, region, key, part, series, version, superseded, time_start, time_end, digest, "
    "generation, document",
    "terms": "term, kind, name, value, blocks",
    "names": "name, terms",
    "postings": "term, block, bits",
    "places": "dataset, region, generation, holdings, entries, pieces",
    "manifest": "dataset, region, key, rows",
    "tombstones": "id, dataset, region, key, part, generation",
}
#: A filter by time reads these three columns of many entries without their documents, so they have a separate checksum.
TIME_SUM = "slot + coalesce(time_start, -1) + coalesce(time_end, -1)"
#: Checksum of the blocks of one value, which detects missing and exchanged blocks.
BLOCK_SUM = "sum(block + 1)"


class DamagedRow(CatalogError):
    """A row of the file is damaged."""


def seal(*values: object) -> bytes | None:
    """Return the digest of a row; None for values that no row can have. Connections have it as the SQL function ``seal``."""
    try:
        if isinstance(values[-1], bytes):
            return hashlib.blake2b(orjson.dumps(values[:-1]) + values[-1], digest_size=8).digest()
        return hashlib.blake2b(orjson.dumps(values), digest_size=8).digest()
    except (TypeError, ValueError):
        return None


def reseal(db: sqlite3.Connection, table: str, where: str = "true", values: Sequence[object] = ()) -> None:
    """Update the seals of rows."""
    db.execute(f"UPDATE {table} SET seal = seal({SEALED[table]}) WHERE {where}", values)


def checked(db: sqlite3.Connection, table: str, where: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Read rows with the columns of `SEALED`, and check their seals.

    Raises
    ------
    DamagedRow
        If a row is damaged.
    """
    rows = db.execute(f"SELECT {SEALED[table]}, seal FROM {table} WHERE {where}", values).fetchall()
    for row in rows:
        if seal(*row[:-1]) != row[-1]:
            raise damaged(_title(table, row))
    return rows


def damaged(what: str) -> DamagedRow:
    """Return the error for a damaged row."""
    return DamagedRow(
        f"The catalog is damaged: {what} in its file is not what was written. Run `xdask sync --full`, which repairs the "
        "file and reads lost entries again from the data (lost results must be computed again). Then check the disk"
    )


def _title(table: str, row: Sequence[Any]) -> str:
    values = [in_python(str(value)) for value in row[:5]]
    if table == "entries":
        return f"the entry {values[2]} {values[3]}:{values[4]}"
    if table == "terms":
        return f"the value {values[2]}={values[3]}"
    if table == "postings":
        return f"the set of entries of value number {values[0]}"
    if table in ("manifest", "places"):
        return f"{'a piece of the manifest' if table == 'manifest' else 'the state'} of {values[0]} in {values[1]}"
    return f"a row of {table}"


# ---- related rows
# -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlaceRow:
    """The state of one (dataset, Region) after its last commit; ``entries`` is None if they were not counted."""

    generation: int = 0
    holdings: str = ""
    entries: int | None = None
    pieces: int = 0


def places(db: sqlite3.Connection) -> dict[tuple[str, str], PlaceRow]:
    """Return all places, including those that have only a lease."""
    rows = checked(db, "places", "true")
    (number,) = db.execute("SELECT places FROM counter").fetchone()
    if len(rows) != number:
        raise damaged(f"the list of places, which has {len(rows)} and should have {number},")
    return {
        (dataset, region): PlaceRow(generation, holdings, entries, pieces)
        for dataset, region, generation, holdings, entries, pieces, _ in rows
    }


def counted_names(db: sqlite3.Connection) -> dict[str, int]:
    """Return the names of terms, and the number of values of each."""
    rows = checked(db, "names", "true")
    (number,) = db.execute("SELECT names FROM counter").fetchone()
    if len(rows) != number:
        raise damaged(f"the list of names, which has {len(rows)} and should have {number},")
    return {name: terms for name, terms, _ in rows}


@dataclass(frozen=True)
class Term:
    """A name and a value: its number, its kind, and the sum of the blocks in which it has entries, counted from 1."""

    number: int
    kind: str
    value: str
    blocks: int


def terms(db: sqlite3.Connection, name: str) -> list[Term]:
    """Return all values of a name, sorted."""
    rows = checked(db, "terms", "name = ? ORDER BY value", (name,))
    number = counted_names(db).get(name, 0)
    if len(rows) != number:
        raise damaged(f"the list of values of {in_python(name)}, which has {len(rows)} and should have {number},")
    return [Term(term, kind, value, blocks) for term, kind, _, value, blocks, _ in rows]


def terms_of(db: sqlite3.Connection, name: str, values: Iterable[str]) -> list[Term]:
    """Return those of the given values of a name that exist."""
    wanted = set(values)
    rows = checked(db, "terms", "name = ? AND value IN (SELECT value FROM json_each(?))", (name, json.dumps([*wanted])))
    existing = [Term(term, kind, value, blocks) for term, kind, _, value, blocks, _ in rows]
    if len(existing) == len(wanted):
        return existing
    all_of_name = [term for term in terms(db, name) if term.value in wanted]
    if len(all_of_name) != len(existing):
        raise damaged(f"the index of values of {in_python(name)}")
    return existing


def postings(
    db: sqlite3.Connection, wanted: Iterable[Term], blocks: Sequence[int] | None = None
) -> list[tuple[int, int, bytes]]:
    """Return term number, block and bits of terms, optionally only for given blocks."""
    listed = json.dumps([*(expected := {term.number: term.blocks for term in wanted})])
    among = "term IN (SELECT value FROM json_each(?))"
    blocks_found = dict(
        db.execute(f"SELECT term, {BLOCK_SUM} FROM postings WHERE {among} GROUP BY term", (listed,)).fetchall()
    )
    if blocks_found != {term: total for term, total in expected.items() if total}:
        raise damaged("the list of sets of entries")
    inside, values = among, [listed]
    if blocks is not None:
        inside, values = f"{among} AND block IN (SELECT value FROM json_each(?))", [listed, json.dumps([*blocks])]
    return [(term, block, bits) for term, block, bits, _ in checked(db, "postings", inside, values)]


def grow(db: sqlite3.Connection, column: str, by: int) -> None:
    """Update the number of names or places."""
    db.execute(f"UPDATE counter SET {column} = {column} + ?", (by,))


def add_place(db: sqlite3.Connection, dataset: str, region: str) -> None:
    """Create a place, if it does not exist."""
    if db.execute("INSERT OR IGNORE INTO places (dataset, region) VALUES (?, ?)", (dataset, region)).rowcount:
        reseal(db, "places", "dataset = ? AND region = ?", (dataset, region))
        grow(db, "places", 1)


def count_values(db: sqlite3.Connection, grown: Mapping[str, int]) -> None:
    """Update the numbers of values of names."""
    for name, by in grown.items():
        if db.execute("INSERT OR IGNORE INTO names (name, terms) VALUES (?, 0)", (name,)).rowcount:
            grow(db, "names", 1)
        db.execute("UPDATE names SET terms = terms + ? WHERE name = ?", (by, name))
        if db.execute("DELETE FROM names WHERE name = ? AND terms = 0", (name,)).rowcount:
            grow(db, "names", -1)
        reseal(db, "names", "name = ?", (name,))
