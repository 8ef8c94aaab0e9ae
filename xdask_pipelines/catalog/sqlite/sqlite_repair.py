"""Repair of a damaged SQLite file: undamaged rows are written again, and the others are dropped.

Belongs here: checking all rows, and copying them into new tables. Does not belong here: checks during queries
(sqlite_seals), reading data again (a sync).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from xdask_pipelines.catalog.backend import Change, Query
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.sqlite import bitmaps
from xdask_pipelines.catalog.sqlite.sqlite_manifest import read_manifest
from xdask_pipelines.catalog.sqlite.sqlite_query import matching
from xdask_pipelines.catalog.sqlite.sqlite_schema import create
from xdask_pipelines.catalog.sqlite.sqlite_seals import (
    SEALED,
    TIME_SUM,
    DamagedRow,
    add_place,
    counted_names,
    places,
    postings,
    reseal,
    seal,
    terms,
)
from xdask_pipelines.catalog.sqlite.sqlite_write import SqliteCommit

_AT_ONCE = 10_000


def is_damaged(db: sqlite3.Connection) -> bool:
    """Return whether any row in the file is damaged."""
    try:
        if db.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
            return True
        if any(row is None for table in SEALED for row in _sound(db, table, table)):
            return True
        for name in counted_names(db):
            postings(db, terms(db, name))
        for place in places(db):
            read_manifest(db, *place)
        slots = [slot for (slot,) in db.execute("SELECT slot FROM entries ORDER BY slot")]
        if bitmaps.rows(matching(db, Query(superseded=True))) != slots:
            return True
        (wrong,) = db.execute(f"SELECT count(*) FROM entries WHERE time_sum IS NOT {TIME_SUM}").fetchone()
    except (DamagedRow, sqlite3.DatabaseError, UnicodeDecodeError):
        return True
    return bool(wrong)


def repair(db: sqlite3.Connection) -> Counter[tuple[str, str]]:
    """Create all tables again from the undamaged rows, inside a transaction.

    The descriptions of mounts are cleared, so that the next sync of each place compares everything. Leases are kept.

    Returns
    -------
    Number of lost entries by (dataset, Region); damaged rows of unknown places count for ("", "").
    """
    for table in ("counter", *SEALED):
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for (index,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall():
        db.execute(f"DROP INDEX {index}")
    create(db)
    held, damaged = _copy_entries(db)
    for table in ("manifest", "tombstones"):
        for row in filter(None, _sound(db, f"old_{table}", table)):
            marks = ", ".join("?" * (len(row) + 1))
            db.execute(f"INSERT INTO {table} ({SEALED[table]}, seal) VALUES ({marks})", (*row, seal(*row)))
    lost = Counter({("", ""): damaged})
    for place, wanted in _copy_places(db).items():
        if wanted is not None and wanted > held[place]:
            lost[place] = wanted - held[place]
            lost["", ""] -= lost[place]
    for table in ("counter", *SEALED):
        db.execute(f"DROP TABLE old_{table}")
    return +lost


def _copy_entries(db: sqlite3.Connection) -> tuple[Counter[tuple[str, str]], int]:
    """Write undamaged entries again; return their number by place, and the number of damaged ones."""
    held: Counter[tuple[str, str]] = Counter()
    damaged = 0
    rows = _sound(db, "old_entries", "entries")
    while some := list(islice(rows, _AT_ONCE)):
        sound = [Entry.from_json(row[13], generation=row[12]) for row in some if row is not None]
        damaged += len(some) - len(sound)
        held.update((entry.dataset, entry.region) for entry in sound)
        newest = max((entry.generation for entry in sound), default=0)
        SqliteCommit(db, newest, as_they_are=True).write(Change(upserts=sound))
    return held, damaged


def _copy_places(db: sqlite3.Connection) -> dict[tuple[str, str], int | None]:
    """Restore the states of places and the counter of commits; return the expected number of entries of each place."""
    (counted,) = db.execute("SELECT max(generation) FROM old_counter").fetchone()
    (seen,) = db.execute("SELECT coalesce(max(generation), 0) FROM entries").fetchone()
    known = {(row[0], row[1]): row for row in filter(None, _sound(db, "old_places", "places"))}
    newest = max([seen, *(row[2] for row in known.values())])
    db.execute("UPDATE counter SET generation = ?", (max(newest, counted if isinstance(counted, int) else 0),))
    wanted: dict[tuple[str, str], int | None] = {}
    of_place, leases = "dataset = ? AND region = ?", "lease_owner, lease_token, lease_challenger"
    for place in sorted(places(db).keys() | known.keys()):
        add_place(db, *place)
        _, _, generation, _, entries, _ = known.get(place, (*place, newest, "", None, 0))
        (pieces,) = db.execute(f"SELECT count(*) FROM manifest WHERE {of_place}", place).fetchone()
        db.execute(
            f"UPDATE places SET generation = ?, entries = ?, pieces = ?, holdings = '', "
            f"({leases}) = (SELECT {leases} FROM old_places WHERE {of_place}) WHERE {of_place}",
            (generation, entries, pieces, *place, *place),
        )
        reseal(db, "places", of_place, place)
        wanted[place] = entries
    return wanted


def _sound(db: sqlite3.Connection, table: str, kind: str) -> Iterator[tuple[Any, ...] | None]:
    """Iterate over rows without their seals; None for each damaged row."""
    cursor = db.cursor()
    for row in cursor.execute(f"SELECT {SEALED[kind]}, seal FROM {table} NOT INDEXED"):
        yield row[:-1] if seal(*row[:-1]) == row[-1] else None
