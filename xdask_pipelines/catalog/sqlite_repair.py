"""Repairing a damaged SQLite file: rows that are sound are written again, and the others are left out.

Belongs here: looking at all rows, moving them into new tables. Does not belong here: what a query finds damaged
(sqlite_seals), reading data again (a sync).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from xdask_pipelines.catalog import bitmaps
from xdask_pipelines.catalog.backend import Change, Query
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.sqlite_manifest import read_manifest
from xdask_pipelines.catalog.sqlite_query import matching
from xdask_pipelines.catalog.sqlite_schema import create
from xdask_pipelines.catalog.sqlite_seals import (
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
from xdask_pipelines.catalog.sqlite_write import Writer

_AT_ONCE = 10_000


def is_damaged(db: sqlite3.Connection) -> bool:
    """Whether anything in the file is not what was written."""
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
    """Make all tables again from the rows that are sound, inside a transaction.

    Each place forgets what its mounts were described as, so that its next sync looks at everything. Leases stay.

    Returns
    -------
    How many entries were lost, by (dataset, Region); what cannot be known of a damaged row counts for ("", "").
    """
    for table in ("counter", *SEALED):
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for (index,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall():
        db.execute(f"DROP INDEX {index}")
    create(db)
    lost: Counter[tuple[str, str]] = Counter()
    held: Counter[tuple[str, str]] = Counter()
    rows = _sound(db, "old_entries", "entries")
    newest = 0
    while some := list(islice(rows, _AT_ONCE)):
        sound = [Entry.from_json(row[13], generation=row[12]) for row in some if row is not None]
        lost["", ""] += len(some) - len(sound)
        held.update((e.dataset, e.region) for e in sound)
        newest = max(newest, *(e.generation for e in sound), 0)
        Writer(db, newest, as_they_are=True).write(Change(upserts=sound))
    for table in ("manifest", "tombstones"):
        columns = SEALED[table]
        for row in _sound(db, f"old_{table}", table):
            if row is not None:
                marks = ", ".join("?" * len(row))
                db.execute(f"INSERT INTO {table} ({columns}, seal) VALUES ({marks}, ?)", (*row, seal(*row)))
    known = {(row[0], row[1]): row for row in _sound(db, "old_places", "places") if row is not None}
    newest = max([newest, *(row[2] for row in known.values())])
    for place in sorted(held.keys() | known.keys()):
        add_place(db, *place)
        _, _, generation, _, entries, _ = known.get(place, (*place, newest, "", None, 0))
        of_place = "dataset = ? AND region = ?"
        (pieces,) = db.execute(f"SELECT count(*) FROM manifest WHERE {of_place}", place).fetchone()
        values = (generation, entries, pieces, *place)
        db.execute(f"UPDATE places SET generation = ?, entries = ?, pieces = ?, holdings = '' WHERE {of_place}", values)
        leases = "lease_owner, lease_token, lease_challenger"
        db.execute(
            f"UPDATE places SET ({leases}) = (SELECT {leases} FROM old_places WHERE {of_place}) WHERE {of_place}",
            (*place, *place),
        )
        reseal(db, "places", of_place, place)
        if entries is not None and entries > held[place]:
            lost[place] = entries - held[place]
            lost["", ""] -= lost[place]
    (counted,) = db.execute("SELECT max(generation) FROM old_counter").fetchone()
    db.execute("UPDATE counter SET generation = ?", (max(newest, counted if isinstance(counted, int) else 0),))
    for table in ("counter", *SEALED):
        db.execute(f"DROP TABLE old_{table}")
    return +lost


def _sound(db: sqlite3.Connection, table: str, kind: str) -> Iterator[tuple[Any, ...] | None]:
    """Rows without their seals; None for each that is not what was written."""
    cursor = db.cursor()
    for row in cursor.execute(f"SELECT {SEALED[kind]}, seal FROM {table} NOT INDEXED"):
        yield row[:-1] if seal(*row[:-1]) == row[-1] else None
