"""The catalog in one SQLite file, which several processes read and write concurrently.

Belongs here: the methods of the store, and leases. Does not belong here: connections (sqlite_file), queries
(sqlite_query), commits (sqlite_write), the interface for users (catalog).
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from xdask_pipelines.catalog.backend import Change, Committed, Contents, Lease, Query, Tombstone
from xdask_pipelines.catalog.entry import FIELDS, Entry
from xdask_pipelines.catalog.preconditions import being_synced, moved_on
from xdask_pipelines.catalog.sqlite import bitmaps
from xdask_pipelines.catalog.sqlite.sqlite_file import SqliteFile
from xdask_pipelines.catalog.sqlite.sqlite_manifest import read_manifest
from xdask_pipelines.catalog.sqlite.sqlite_query import matching, place_of, places_of
from xdask_pipelines.catalog.sqlite.sqlite_repair import is_damaged, repair
from xdask_pipelines.catalog.sqlite.sqlite_schema import EXTENT
from xdask_pipelines.catalog.sqlite.sqlite_seals import add_place, checked, counted_names, damaged, postings, terms
from xdask_pipelines.catalog.sqlite.sqlite_write import NO_LEASE, SqliteCommit, check_current, check_held, fill

_AMONG = "slot IN (SELECT value FROM json_each(?))"


class SqliteBackend:
    """See :class:`xdask_pipelines.catalog.backend.Backend`, which this implements, for every method."""

    def __init__(self, path: str | Path) -> None:
        self.file = SqliteFile(Path(path))

    def commit(self, change: Change) -> int:
        """Write a change atomically."""
        with self.file.writing() as db:
            check_current(db, change)
            (generation,) = db.execute(
                "UPDATE counter SET generation = 1 + max(generation, (SELECT coalesce(max(generation), 0) FROM places)) "
                "RETURNING generation"
            ).fetchone()
            return SqliteCommit(db, generation).write(change)

    def search(self, query: Query) -> list[Entry]:
        """Return matching entries, sorted."""
        with self.file.reading() as db:
            if db is None:
                return []
            slots = bitmaps.rows(matching(db, query))
            limit = len(slots) if query.limit is None else min(query.limit, len(slots))
            first = f"{_AMONG} ORDER BY dataset, region, key, part LIMIT ?"
            rows = checked(db, "entries", first, (json.dumps(slots), limit))
            if len(rows) != limit:
                raise damaged("the table of entries")
            return [Entry.from_json(document, generation=generation) for *_, generation, document, _ in rows]

    def count(self, query: Query) -> int:
        """How many entries match."""
        with self.file.reading() as db:
            return 0 if db is None else bitmaps.count(matching(db, query))

    def facets(self, names: Sequence[str], query: Query) -> dict[str, dict[str, int]]:
        """Return the values among matching entries, and the number of entries for each."""
        found: dict[str, dict[str, int]] = {name: {} for name in names}
        with self.file.reading() as db:
            if db is None:
                return found
            bits = matching(db, query)
            filled = bitmaps.blocks(bits)
            for name, counts in found.items():
                if name == "key":
                    counts.update(_keys(db, bitmaps.rows(bits)))
                    continue
                values = {term.number: term for term in terms(db, name)}
                sets = postings(db, values.values(), filled)
                numbers = bitmaps.overlaps(bits, [(block, blob) for _, block, blob in sets])
                for (term, _, _), number in zip(sets, numbers, strict=True):
                    if number:
                        counts[values[term].value] = counts.get(values[term].value, 0) + number
                found[name] = dict(sorted(counts.items()))
        return found

    def names(self) -> dict[str, str]:
        """Return the names that can be searched, and their kind."""
        with self.file.reading() as db:
            if db is None:
                return {}
            # A name may be a facet of one dataset and an attribute of another; "facet" sorts after "attribute".
            kinds = dict(db.execute("SELECT name, max(kind) FROM terms WHERE name <> '' GROUP BY name").fetchall())
            if kinds.keys() != counted_names(db).keys() - {EXTENT}:
                raise damaged("the list of names")
            return dict(sorted({**kinds, **dict.fromkeys(FIELDS, "field")}.items())) if kinds else {}

    def generation(self, dataset: str, region: str) -> int:
        """Return the last commit of (dataset, Region)."""
        with self.file.reading() as db:
            return 0 if db is None else place_of(db, dataset, region).generation

    def committed(self, dataset: str, region: str) -> Committed:
        """Return the state after the last commit."""
        with self.file.reading() as db:
            if db is None:
                return Committed()
            query = Query(terms={"dataset": (dataset,), "region": (region,)}, superseded=True)
            place = place_of(db, dataset, region)
            return Committed(
                generation=place.generation,
                objects=read_manifest(db, dataset, region),
                entries=_held(db, query),
                written_entries=place.entries,
                holdings=place.holdings,
                read_digests=partial(self._digests, dataset, region, place.generation),
            )

    def _digests(self, dataset: str, region: str, generation: int) -> dict[str, str]:
        with self.file.reading() as db:
            if db is None or place_of(db, dataset, region).generation != generation:
                raise moved_on(dataset, region, generation)
            rows = db.execute("SELECT id, digest FROM entries WHERE dataset = ? AND region = ?", (dataset, region))
            return dict(rows.fetchall())

    def tombstones(self, dataset: str, region: str) -> list[Tombstone]:
        """Return entries that were removed and not written again."""
        with self.file.reading() as db:
            if db is None:
                return []
            rows = checked(db, "tombstones", "dataset = ? AND region = ? ORDER BY key, part", (dataset, region))
            return [Tombstone(id=i, key=key, part=part, generation=n) for i, _, _, key, part, n, _ in rows]

    def lease(self, dataset: str, region: str, owner: str) -> Lease:
        """Acquire the lease to sync (dataset, Region)."""
        with self.file.writing() as db:
            add_place(db, dataset, region)
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
        """Send a heartbeat."""
        with self.file.writing() as db:
            check_held(db, lease)
            db.execute("UPDATE places SET lease_challenger = NULL WHERE lease_token = ?", (lease.token,))

    def release(self, lease: Lease) -> None:
        """Release a lease without a commit."""
        with self.file.writing() as db:
            db.execute(f"UPDATE places SET {NO_LEASE} WHERE lease_token = ?", (lease.token,))

    def places(self) -> dict[tuple[str, str], int]:
        """Return places with commits, and their last commits."""
        with self.file.reading() as db:
            return {} if db is None else places_of(db)

    def fill(self, contents: Iterable[Contents], newest: int) -> None:
        """Write a whole catalog, in one transaction."""
        with self.file.writing() as db:
            fill(db, contents, newest)

    def migrate(self, tell: Callable[[str], None]) -> bool:
        """Do nothing: a file of an older version is migrated when it is opened."""
        return False

    def repair(self) -> dict[tuple[str, str], int]:
        """Rewrite the undamaged rows, if any row is damaged."""
        with self.file.reading() as db:
            if db is None or not is_damaged(db):
                return {}
        with self.file.writing() as db:
            return dict(repair(db)) or {("", ""): 0}


def _held(db: sqlite3.Connection, query: Query) -> int:
    """Return the number of matching entries that are in the table; if no row is missing, counting rows is enough."""
    (rows,) = db.execute("SELECT count(*) FROM entries").fetchone()
    db.execute("PRAGMA shrink_memory")  # for a million entries the count has read an index of 40 MB
    held = matching(db, query)
    if rows == bitmaps.count(matching(db, Query(superseded=True))):
        return bitmaps.count(held)
    (rows,) = db.execute(f"SELECT count(*) FROM entries WHERE {_AMONG}", (json.dumps(bitmaps.rows(held)),)).fetchone()
    return int(rows)


def _keys(db: sqlite3.Connection, slots: list[int]) -> dict[str, int]:
    """Return the keys of entries, sorted, and the number of entries for each."""
    counted = (
        "SELECT key, count(*) FROM entries WHERE slot IN (SELECT value FROM json_each(?)) GROUP BY key ORDER BY key"
    )
    counts = dict(db.execute(counted, (json.dumps(slots),)).fetchall())
    if sum(counts.values()) != len(slots):
        raise damaged("the table of entries")
    return counts
