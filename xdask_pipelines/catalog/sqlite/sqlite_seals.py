"""Seals: digests over whole rows of the SQLite file, by which a flipped bit is found before anybody believes it.

Belongs here: seals, and reading rows that are checked. Does not belong here: what rows mean (sqlite_query), repairing
(sqlite_repair).

SQLite checks how its pages are built, not what they hold. A seal finds a row that changed. That no row is missing is found
by counts: of names, of the values of each name, of the blocks of each value, of the pieces of each manifest. An index that
leads nowhere is found where a value that is not found is looked for among all values of its name.
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
#: A filter by time looks at many entries and not at their documents: these three columns have a sum, too.
TIME_SUM = "slot + coalesce(time_start, -1) + coalesce(time_end, -1)"
#: Of the sets of one value: none is missing, and none is taken for that of another block.
BLOCK_SUM = "sum(block + 1)"


class DamagedRow(CatalogError):
    """What the file holds is not what was written."""


def seal(*values: object) -> bytes | None:
    """Digest of a row; None of values that no row has. The SQL function ``seal`` on every connection."""
    try:
        if isinstance(values[-1], bytes):
            return hashlib.blake2b(orjson.dumps(values[:-1]) + values[-1], digest_size=8).digest()
        return hashlib.blake2b(orjson.dumps(values), digest_size=8).digest()
    except (TypeError, ValueError):
        return None


def reseal(db: sqlite3.Connection, table: str, where: str = "true", values: Sequence[object] = ()) -> None:
    """Seal rows as they are now."""
    db.execute(f"UPDATE {table} SET seal = seal({SEALED[table]}) WHERE {where}", values)


def checked(db: sqlite3.Connection, table: str, where: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Rows with the columns of `SEALED`, each as it was written.

    Raises
    ------
    DamagedRow
        One is not.
    """
    rows = db.execute(f"SELECT {SEALED[table]}, seal FROM {table} WHERE {where}", values).fetchall()
    for row in rows:
        if seal(*row[:-1]) != row[-1]:
            raise damaged(_title(table, row))
    return rows


def damaged(what: str) -> DamagedRow:
    """The error for something that is not what was written."""
    return DamagedRow(
        f"The catalog is damaged: {what} in its file is not what was written. Run `xdask sync --full`, which repairs the "
        "file and reads from the data again what is lost (lost results are computed again). Then look at the disk"
    )


def _title(table: str, row: Sequence[Any]) -> str:
    said = [in_python(str(value)) for value in row[:5]]
    if table == "entries":
        return f"the entry {said[2]} {said[3]}:{said[4]}"
    if table == "terms":
        return f"the value {said[2]}={said[3]}"
    if table == "postings":
        return f"the set of entries of value number {said[0]}"
    if table in ("manifest", "places"):
        return f"{'a piece of the manifest' if table == 'manifest' else 'the state'} of {said[0]} in {said[1]}"
    return f"a row of {table}"


# ---- rows that hang together ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlaceRow:
    """What the last commit left of one (dataset, Region); ``entries`` is None where it was not counted."""

    generation: int = 0
    holdings: str = ""
    entries: int | None = None
    pieces: int = 0


def places(db: sqlite3.Connection) -> dict[tuple[str, str], PlaceRow]:
    """All places, those too that only a lease knows of."""
    rows = checked(db, "places", "true")
    (number,) = db.execute("SELECT places FROM counter").fetchone()
    if len(rows) != number:
        raise damaged(f"the list of places, which has {len(rows)} and should have {number},")
    return {
        (dataset, region): PlaceRow(generation, holdings, entries, pieces)
        for dataset, region, generation, holdings, entries, pieces, _ in rows
    }


def counted_names(db: sqlite3.Connection) -> dict[str, int]:
    """Names of terms, and how many values each has."""
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
    """All values of a name, sorted."""
    rows = checked(db, "terms", "name = ? ORDER BY value", (name,))
    number = counted_names(db).get(name, 0)
    if len(rows) != number:
        raise damaged(f"the list of values of {in_python(name)}, which has {len(rows)} and should have {number},")
    return [Term(term, kind, value, blocks) for term, kind, _, value, blocks, _ in rows]


def terms_of(db: sqlite3.Connection, name: str, values: Iterable[str]) -> list[Term]:
    """Those of some values of a name that there are."""
    wanted = set(values)
    rows = checked(db, "terms", "name = ? AND value IN (SELECT value FROM json_each(?))", (name, json.dumps([*wanted])))
    found = [Term(term, kind, value, blocks) for term, kind, _, value, blocks, _ in rows]
    if len(found) == len(wanted):
        return found
    all_of_name = [term for term in terms(db, name) if term.value in wanted]
    if len(all_of_name) != len(found):
        raise damaged(f"the index of values of {in_python(name)}")
    return found


def postings(
    db: sqlite3.Connection, wanted: Iterable[Term], blocks: Sequence[int] | None = None
) -> list[tuple[int, int, bytes]]:
    """Number of the term, block and bits of terms; only in some blocks, if these are given."""
    listed = json.dumps([*(expected := {term.number: term.blocks for term in wanted})])
    among = "term IN (SELECT value FROM json_each(?))"
    there = dict(
        db.execute(f"SELECT term, {BLOCK_SUM} FROM postings WHERE {among} GROUP BY term", (listed,)).fetchall()
    )
    if there != {term: total for term, total in expected.items() if total}:
        raise damaged("the list of sets of entries")
    inside, values = among, [listed]
    if blocks is not None:
        inside, values = f"{among} AND block IN (SELECT value FROM json_each(?))", [listed, json.dumps([*blocks])]
    return [(term, block, bits) for term, block, bits, _ in checked(db, "postings", inside, values)]


def grow(db: sqlite3.Connection, column: str, by: int) -> None:
    """Count names or places."""
    db.execute(f"UPDATE counter SET {column} = {column} + ?", (by,))


def add_place(db: sqlite3.Connection, dataset: str, region: str) -> None:
    """Begin a place, if it is not there."""
    if db.execute("INSERT OR IGNORE INTO places (dataset, region) VALUES (?, ?)", (dataset, region)).rowcount:
        reseal(db, "places", "dataset = ? AND region = ?", (dataset, region))
        grow(db, "places", 1)


def count_values(db: sqlite3.Connection, grown: Mapping[str, int]) -> None:
    """Count values of names that were added or removed."""
    for name, by in grown.items():
        if db.execute("INSERT OR IGNORE INTO names (name, terms) VALUES (?, 0)", (name,)).rowcount:
            grow(db, "names", 1)
        db.execute("UPDATE names SET terms = terms + ? WHERE name = ?", (by, name))
        if db.execute("DELETE FROM names WHERE name = ? AND terms = 0", (name,)).rowcount:
            grow(db, "names", -1)
        reseal(db, "names", "name = ?", (name,))
