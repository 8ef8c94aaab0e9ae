"""Manifests in the SQLite file, and files of an older schema.

Belongs here: reading and changing pieces, bringing a file to the present schema. Does not belong here: transactions
(sqlite_file), what a piece is (pieces).
"""

from __future__ import annotations

import sqlite3

from xdask_pipelines.catalog.backend import ManifestChange
from xdask_pipelines.catalog.columns import Listing
from xdask_pipelines.catalog.listing import StoredObject
from xdask_pipelines.catalog.pieces import changed, touched
from xdask_pipelines.catalog.streams import Packed

TABLE = """CREATE TABLE manifest (
    dataset TEXT NOT NULL,
    region TEXT NOT NULL,
    key TEXT NOT NULL,
    rows BLOB NOT NULL,
    PRIMARY KEY (dataset, region, key)
)"""


def read_manifest(db: sqlite3.Connection, dataset: str, region: str) -> Packed:
    """The manifest of (dataset, Region)."""
    found = db.execute("SELECT rows FROM manifest WHERE dataset = ? AND region = ? ORDER BY key", (dataset, region))
    return Packed([rows for (rows,) in found])


def write_manifest(db: sqlite3.Connection, dataset: str, region: str, change: ManifestChange) -> None:
    """Change the manifest of (dataset, Region), piece by piece."""
    place = (dataset, region)
    firsts = db.execute("SELECT key FROM manifest WHERE dataset = ? AND region = ? ORDER BY key", place).fetchall()
    first_keys = [key for (key,) in firsts]
    for i, part in touched(first_keys, change).items():
        before = Listing.of(())
        if first_keys:
            (rows,) = db.execute(
                "DELETE FROM manifest WHERE dataset = ? AND region = ? AND key = ? RETURNING rows",
                (*place, first_keys[i]),
            ).fetchone()
            before = Listing.in_order(Listing.unpacked(rows))
        for piece in changed(before, part):
            db.execute("INSERT INTO manifest VALUES (?, ?, ?, ?)", (*place, piece[0].key, piece.packed()))


def to_version_2(db: sqlite3.Connection) -> None:
    """Places remember what their mounts were described as; manifests lie in pieces, not in rows."""
    db.execute("ALTER TABLE places ADD COLUMN holdings TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE manifest RENAME TO manifest_1")
    db.execute(TABLE)
    for dataset, region in db.execute("SELECT DISTINCT dataset, region FROM manifest_1").fetchall():
        rows = db.execute(
            "SELECT key, size_bytes, etag, modified_ns FROM manifest_1 WHERE dataset = ? AND region = ? ORDER BY key",
            (dataset, region),
        )
        write_manifest(db, dataset, region, ManifestChange(put=[StoredObject(*row) for row in rows]))
    db.execute("DROP TABLE manifest_1")
    db.execute("PRAGMA user_version = 2")
