"""Manifests in the SQLite file.

Belongs here: reading and changing pieces. Does not belong here: transactions (sqlite_file), the form of pieces
(pieces).
"""

from __future__ import annotations

import sqlite3

from xdask_pipelines.catalog.backend import ManifestChange
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects
from xdask_pipelines.catalog.manifest.pieces import changed, touched
from xdask_pipelines.catalog.sqlite.sqlite_seals import checked, damaged, places, seal

_OF_PLACE = "dataset = ? AND region = ?"


def read_manifest(db: sqlite3.Connection, dataset: str, region: str) -> PackedObjects:
    """Read the manifest of (dataset, Region).

    Raises
    ------
    DamagedRow
        If a piece is missing or damaged.
    """
    found = checked(db, "manifest", f"{_OF_PLACE} ORDER BY key", (dataset, region))
    place = places(db).get((dataset, region))
    if len(found) != (place.pieces if place else 0):
        raise damaged(f"the manifest of {dataset} in {region}")
    return PackedObjects([rows for _, _, _, rows, _ in found])


def write_manifest(db: sqlite3.Connection, dataset: str, region: str, change: ManifestChange) -> int:
    """Change the manifest of (dataset, Region) piece by piece, and return the increase in pieces."""
    place = (dataset, region)
    firsts = db.execute(f"SELECT key FROM manifest WHERE {_OF_PLACE} ORDER BY key", place).fetchall()
    first_keys = [key for (key,) in firsts]
    grown = 0
    for i, part in touched(first_keys, change).items():
        before = ObjectTable.of(())
        if first_keys:
            at = (*place, first_keys[i])
            ((_, _, _, rows, _),) = checked(db, "manifest", f"{_OF_PLACE} AND key = ?", at)
            db.execute(f"DELETE FROM manifest WHERE {_OF_PLACE} AND key = ?", at)
            before = ObjectTable.in_order(ObjectTable.unpacked(rows))
            grown -= 1
        for piece in changed(before, part):
            row = (*place, piece[0].key, piece.packed())
            db.execute("INSERT INTO manifest VALUES (?, ?, ?, ?, ?)", (*row, seal(*row)))
            grown += 1
    return grown
