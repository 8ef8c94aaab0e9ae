"""The embedded store of the catalog: one SQLite file that several processes read and write at once.

Belongs here: the store's answers, and leases. Does not belong here: connections (sqlite_file.py), what a query means
(sqlite_query.py), a commit (sqlite_write.py), or what users may ask (catalog.py).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from xdask_pipelines.catalog import bitmaps
from xdask_pipelines.catalog.backend import Change, Committed, Contents, Lease, Query, Tombstone
from xdask_pipelines.catalog.claims import being_synced, moved_on
from xdask_pipelines.catalog.entry import FIELDS, Entry
from xdask_pipelines.catalog.sqlite_file import SqliteFile
from xdask_pipelines.catalog.sqlite_manifest import read_manifest
from xdask_pipelines.catalog.sqlite_query import generation_of, matching, places_of
from xdask_pipelines.catalog.sqlite_write import NO_LEASE, Writer, check_current, check_held, fill


class SqliteBackend:
    """See :class:`xdask_pipelines.catalog.backend.Backend`, which this implements, for every method."""

    def __init__(self, path: str | Path) -> None:
        self._file = SqliteFile(Path(path))

    def commit(self, change: Change) -> int:
        """Write all of a change or nothing."""
        with self._file.writing() as db:
            check_current(db, change)
            (generation,) = db.execute("UPDATE counter SET generation = generation + 1 RETURNING generation").fetchone()
            return Writer(db, generation).write(change)

    def search(self, query: Query) -> list[Entry]:
        """Matching entries, sorted."""
        with self._file.reading() as db:
            if db is None:
                return []
            slots = bitmaps.rows(matching(db, query))
            return [
                Entry.from_json(document, generation=generation)
                for document, generation in db.execute(
                    "SELECT document, generation FROM entries WHERE slot IN (SELECT value FROM json_each(?)) "
                    "ORDER BY dataset, region, key, part LIMIT ?",
                    (json.dumps(slots), -1 if query.limit is None else query.limit),
                )
            ]

    def count(self, query: Query) -> int:
        """How many entries match."""
        with self._file.reading() as db:
            return 0 if db is None else bitmaps.count(matching(db, query))

    def facets(self, names: Sequence[str], query: Query) -> dict[str, dict[str, int]]:
        """Values among matching entries, and how many have each."""
        found: dict[str, dict[str, int]] = {name: {} for name in names}
        with self._file.reading() as db:
            if db is None:
                return found
            bits = matching(db, query)
            filled = json.dumps(bitmaps.blocks(bits))
            for name, counts in found.items():
                if name == "key":
                    slots = json.dumps(bitmaps.rows(bits))
                    counts.update(
                        db.execute(
                            "SELECT key, count(*) FROM entries WHERE slot IN (SELECT value FROM json_each(?)) "
                            "GROUP BY key ORDER BY key",
                            (slots,),
                        )
                    )
                    continue
                postings = db.execute(
                    "SELECT terms.value, block, bits FROM terms JOIN postings USING (term) "
                    "WHERE name = ? AND block IN (SELECT value FROM json_each(?)) ORDER BY terms.value",
                    (name, filled),
                ).fetchall()
                numbers = bitmaps.overlaps(bits, [(block, blob) for _, block, blob in postings])
                for (value, _, _), number in zip(postings, numbers, strict=True):
                    if number:
                        counts[value] = counts.get(value, 0) + number
        return found

    def names(self) -> dict[str, str]:
        """Names that entries can be found by, and their kind."""
        with self._file.reading() as db:
            if db is None:
                return {}
            # A name may be a facet of one dataset and an attribute of another; "facet" sorts after "attribute".
            rows = db.execute("SELECT name, max(kind) FROM terms WHERE name <> '' GROUP BY name").fetchall()
            return dict(sorted({**dict(rows), **dict.fromkeys(FIELDS, "field")}.items())) if rows else {}

    def generation(self, dataset: str, region: str) -> int:
        """Last commit that touched (dataset, Region)."""
        with self._file.reading() as db:
            return 0 if db is None else generation_of(db, dataset, region)

    def committed(self, dataset: str, region: str) -> Committed:
        """Base of the next sync."""
        with self._file.reading() as db:
            if db is None:
                return Committed()
            where = (dataset, region)
            described = "SELECT holdings FROM places WHERE dataset = ? AND region = ?"
            found = db.execute(described, where).fetchone()
            query = Query(terms={"dataset": (dataset,), "region": (region,)}, superseded=True)
            generation = generation_of(db, dataset, region)
            return Committed(
                generation=generation,
                objects=read_manifest(db, dataset, region),
                entries=bitmaps.count(matching(db, query)),
                holdings=found[0] if found else "",
                read_digests=partial(self._digests, dataset, region, generation),
            )

    def _digests(self, dataset: str, region: str, generation: int) -> dict[str, str]:
        with self._file.reading() as db:
            if db is None or generation_of(db, dataset, region) != generation:
                raise moved_on(dataset, region, generation)
            rows = db.execute("SELECT id, digest FROM entries WHERE dataset = ? AND region = ?", (dataset, region))
            return dict(rows.fetchall())

    def tombstones(self, dataset: str, region: str) -> list[Tombstone]:
        """Entries removed and not written again since."""
        with self._file.reading() as db:
            if db is None:
                return []
            rows = db.execute(
                "SELECT id, key, part, generation FROM tombstones WHERE dataset = ? AND region = ? ORDER BY key, part",
                (dataset, region),
            )
            return [Tombstone(id=i, key=key, part=part, generation=number) for i, key, part, number in rows]

    def lease(self, dataset: str, region: str, owner: str) -> Lease:
        """Claim the right to sync (dataset, Region)."""
        with self._file.writing() as db:
            db.execute("INSERT OR IGNORE INTO places (dataset, region) VALUES (?, ?)", (dataset, region))
            generation, holder, challenger = db.execute(
                "SELECT generation, lease_owner, lease_challenger FROM places WHERE dataset = ? AND region = ?",
                (dataset, region),
            ).fetchone()
            granted = holder is None or owner in (holder, challenger)
            token = secrets.token_hex(16)
            if granted:
                change, values = "lease_owner = ?, lease_token = ?, lease_challenger = NULL", [owner, token]
            else:
                change, values = "lease_challenger = ?", [owner]
            db.execute(f"UPDATE places SET {change} WHERE dataset = ? AND region = ?", [*values, dataset, region])
        if not granted:
            raise being_synced(dataset, region, holder, generation)
        return Lease(dataset=dataset, region=region, owner=owner, generation=generation, token=token)

    def renew(self, lease: Lease) -> None:
        """Show life."""
        with self._file.writing() as db:
            check_held(db, lease)
            db.execute("UPDATE places SET lease_challenger = NULL WHERE lease_token = ?", (lease.token,))

    def release(self, lease: Lease) -> None:
        """Give a lease back unused."""
        with self._file.writing() as db:
            db.execute(f"UPDATE places SET {NO_LEASE} WHERE lease_token = ?", (lease.token,))

    def places(self) -> dict[tuple[str, str], int]:
        """Places that a commit has touched, and their last commits."""
        with self._file.reading() as db:
            return {} if db is None else places_of(db)

    def fill(self, contents: Iterable[Contents], newest: int) -> None:
        """Write a whole catalog, in one transaction."""
        with self._file.writing() as db:
            fill(db, contents, newest)

    def migrate(self, tell: Callable[[str], None]) -> bool:
        """Nothing to do: there has been one form of the file."""
        return False
