"""Tables of the SQLite file, and the migration of older versions.

Belongs here: columns, and the steps from version to version. Does not belong here: transactions (sqlite_file), the
meaning of columns.
"""

from __future__ import annotations

import sqlite3

from xdask_pipelines.catalog.backend import ManifestChange
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.manifest.pieces import changed
from xdask_pipelines.catalog.sqlite.sqlite_seals import BLOCK_SUM, SEALED, TIME_SUM, reseal

SCHEMA_VERSION = 3
ALL, SUPERSEDED = 1, 2  # terms of the store's own: every entry, and every superseded one
EXTENT = ""  # name of terms of the store's own, whose values are extents in JSON

_NAMES = "CREATE TABLE names (name TEXT PRIMARY KEY, terms INTEGER NOT NULL, seal BLOB) WITHOUT ROWID"
_TABLES = f"""
CREATE TABLE counter (generation INTEGER NOT NULL, names INTEGER NOT NULL DEFAULT 0, places INTEGER NOT NULL DEFAULT 0);
INSERT INTO counter (generation, names) VALUES (0, 1);
CREATE TABLE places (
    dataset TEXT NOT NULL,
    region TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    holdings TEXT NOT NULL DEFAULT '',
    entries INTEGER,
    pieces INTEGER NOT NULL DEFAULT 0,
    seal BLOB,
    lease_owner TEXT,
    lease_token TEXT,
    lease_challenger TEXT,
    PRIMARY KEY (dataset, region)
) WITHOUT ROWID;
CREATE TABLE entries (
    slot INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    dataset TEXT NOT NULL,
    region TEXT NOT NULL,
    key TEXT NOT NULL,
    part TEXT NOT NULL,
    series TEXT NOT NULL,
    version TEXT NOT NULL,
    superseded INTEGER NOT NULL DEFAULT 0,
    time_start INTEGER,
    time_end INTEGER,
    time_sum INTEGER,
    digest TEXT NOT NULL,
    generation INTEGER NOT NULL,
    document TEXT NOT NULL,
    seal BLOB
);
CREATE INDEX entries_key ON entries (key);
CREATE INDEX entries_series ON entries (series) WHERE series <> '';
CREATE TABLE terms (
    term INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    blocks INTEGER NOT NULL DEFAULT 0,
    seal BLOB,
    UNIQUE (name, value)
);
INSERT INTO terms (term, kind, name, value) VALUES ({ALL}, '', '', 'all'), ({SUPERSEDED}, '', '', 'superseded');
{_NAMES};
INSERT INTO names (name, terms) VALUES ('', 2);
CREATE TABLE postings (
    term INTEGER NOT NULL,
    block INTEGER NOT NULL,
    bits BLOB NOT NULL,
    seal BLOB,
    PRIMARY KEY (term, block)
);
CREATE TABLE manifest (
    dataset TEXT NOT NULL,
    region TEXT NOT NULL,
    key TEXT NOT NULL,
    rows BLOB NOT NULL,
    seal BLOB,
    PRIMARY KEY (dataset, region, key)
);
CREATE TABLE tombstones (
    id TEXT PRIMARY KEY,
    dataset TEXT NOT NULL,
    region TEXT NOT NULL,
    key TEXT NOT NULL,
    part TEXT NOT NULL,
    generation INTEGER NOT NULL,
    seal BLOB
) WITHOUT ROWID
"""
#: Columns that version 3 has added.
_SINCE_3 = {
    "counter": ("names INTEGER NOT NULL DEFAULT 0", "places INTEGER NOT NULL DEFAULT 0"),
    "places": ("entries INTEGER", "pieces INTEGER NOT NULL DEFAULT 0", "seal BLOB"),
    "entries": ("time_sum INTEGER", "seal BLOB"),
    "terms": ("blocks INTEGER NOT NULL DEFAULT 0", "seal BLOB"),
    **dict.fromkeys(("postings", "manifest", "tombstones"), ("seal BLOB",)),
}


def version_of(db: sqlite3.Connection) -> int:
    """Return the version of a file's schema; 0 if it has none."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def create(db: sqlite3.Connection) -> None:
    """Create the tables of an empty catalog."""
    for statement in _TABLES.strip().split(";\n"):
        db.execute(statement)
    for table in ("terms", "names"):
        reseal(db, table)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _to_version_2(db: sqlite3.Connection) -> None:
    """Migrate to version 2: places store the descriptions of mounts, and manifests are in pieces instead of rows."""
    db.execute("ALTER TABLE places ADD COLUMN holdings TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE manifest RENAME TO manifest_1")
    db.execute("CREATE TABLE manifest (dataset, region, key, rows, PRIMARY KEY (dataset, region, key))")
    for place in db.execute("SELECT DISTINCT dataset, region FROM manifest_1").fetchall():
        rows = db.execute(
            "SELECT key, size_bytes, etag, modified_ns FROM manifest_1 WHERE dataset = ? AND region = ? ORDER BY key",
            place,
        )
        for piece in changed(ObjectTable.of(()), ManifestChange(put=[StoredObject(*row) for row in rows])):
            db.execute("INSERT INTO manifest VALUES (?, ?, ?, ?)", (*place, piece[0].key, piece.packed()))
    db.execute("DROP TABLE manifest_1")
    db.execute("PRAGMA user_version = 2")


def _to_version_3(db: sqlite3.Connection) -> None:
    """Migrate to version 3: rows are sealed and counted. Entries of a place are counted by its next commit."""
    for table, columns in _SINCE_3.items():
        for column in columns:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    db.execute(_NAMES)
    db.execute("INSERT INTO names (name, terms) SELECT name, count(*) FROM terms GROUP BY name")
    db.execute(
        f"UPDATE terms SET blocks = coalesce((SELECT {BLOCK_SUM} FROM postings WHERE postings.term = terms.term), 0)"
    )
    db.execute(
        "UPDATE places SET pieces = (SELECT count(*) FROM manifest "
        "WHERE manifest.dataset = places.dataset AND manifest.region = places.region)"
    )
    for column in ("names", "places"):
        db.execute(f"UPDATE counter SET {column} = (SELECT count(*) FROM {column})")
    db.execute(f"UPDATE entries SET time_sum = {TIME_SUM}")
    for table in SEALED:
        reseal(db, table)
    db.execute("PRAGMA user_version = 3")


#: Steps to the next version, by the version of a file; they run inside the first write transaction.
STEPS = {1: _to_version_2, 2: _to_version_3}
