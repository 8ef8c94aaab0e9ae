"""One commit to the SQLite catalog, inside its transaction.

Belongs here: how rows, bits, manifest and tombstones change together, and what stops a stale writer. Does not belong
here: queries (sqlite_query.py), transactions (sqlite_file.py).
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable

from xdask_pipelines.catalog import bitmaps
from xdask_pipelines.catalog.backend import Change, Contents, Lease, ManifestChange, Query
from xdask_pipelines.catalog.claims import check_base, check_count, check_empty, check_lease, check_removal
from xdask_pipelines.catalog.columns import Listing
from xdask_pipelines.catalog.entry import FIELDS, Entry, version_order
from xdask_pipelines.catalog.sqlite_file import ALL, EXTENT, SUPERSEDED
from xdask_pipelines.catalog.sqlite_manifest import write_manifest
from xdask_pipelines.catalog.sqlite_query import by_block, generation_of, matching, places_of

NO_LEASE = "lease_owner = NULL, lease_token = NULL, lease_challenger = NULL"


class Writer:
    """One commit inside its transaction. Bits are collected per term and written once, phase by phase."""

    def __init__(self, db: sqlite3.Connection, generation: int) -> None:
        self._db = db
        self._generation = generation
        self._terms: dict[tuple[str, str], int] = {}
        self._put: defaultdict[int, list[int]] = defaultdict(list)
        self._drop: defaultdict[int, list[int]] = defaultdict(list)
        self._series: set[str] = set()
        self._places: set[tuple[str, str]] = set()

    def write(self, change: Change) -> int:
        """Write everything; the generation of the commit."""
        if change.dataset is not None and change.region is not None:
            self._places.add((change.dataset, change.region))
        # Removals are written before upserts, as SQLite may give a slot that they free to a new entry.
        for identity in change.removals:
            self._remove(identity, change)
        self._write_bits()
        (buried,) = self._db.execute("SELECT EXISTS (SELECT 1 FROM tombstones)").fetchone()
        for entry in change.upserts:
            self._upsert(entry, bool(buried))
        self._write_bits()
        self._supersede()
        self._write_bits()
        if change.manifest is not None:
            self._write_manifest(change)
        for place in self._places:
            self._db.execute(
                f"INSERT INTO places (generation, dataset, region) VALUES (?, ?, ?) ON CONFLICT (dataset, region) "
                f"DO UPDATE SET generation = excluded.generation, {NO_LEASE}",
                (self._generation, *place),
            )
        if change.holdings is not None:
            self._db.execute(
                "UPDATE places SET holdings = ? WHERE dataset = ? AND region = ?",
                (change.holdings, change.dataset, change.region),
            )
        self._check_count(change)
        return self._generation

    def _remove(self, identity: str, change: Change) -> None:
        row = self._db.execute(
            "DELETE FROM entries WHERE id = ? RETURNING slot, document, series, superseded", (identity,)
        ).fetchone()
        entry = Entry.from_json(row[1]) if row else None
        check_removal(change, identity, entry)
        assert entry is not None
        slot, _, series, superseded = row
        for name, value in _terms(entry).items():
            self._drop[self._term(entry, name, value)].append(slot)
        self._drop[ALL].append(slot)
        if superseded:
            self._drop[SUPERSEDED].append(slot)
        self._series.add(series)
        self._places.add((entry.dataset, entry.region))
        self._db.execute(
            "INSERT OR REPLACE INTO tombstones (id, dataset, region, key, part, generation) VALUES (?, ?, ?, ?, ?, ?)",
            (identity, entry.dataset, entry.region, entry.key, entry.part, self._generation),
        )

    def _upsert(self, entry: Entry, buried: bool) -> None:
        identity, terms, series = entry.id, _terms(entry), entry.series
        values = (
            series,
            entry.version,
            entry.time_start,
            entry.time_end,
            entry.digest,
            self._generation,
            entry.to_json(),
        )
        before = self._db.execute(
            "SELECT slot, document, series, superseded FROM entries WHERE id = ?", (identity,)
        ).fetchone()
        if before is None:
            slot = self._db.execute(
                "INSERT INTO entries (series, version, time_start, time_end, digest, generation, document, "
                "id, dataset, region, key, part) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, identity, entry.dataset, entry.region, entry.key, entry.part),
            ).lastrowid
            assert slot is not None
            if buried:
                self._db.execute("DELETE FROM tombstones WHERE id = ?", (identity,))
            self._put[ALL].append(slot)
            old: dict[str, str] = {}
        else:
            slot = before[0]
            self._db.execute(
                "UPDATE entries SET series = ?, version = ?, time_start = ?, time_end = ?, digest = ?, generation = ?, "
                "document = ? WHERE slot = ?",
                (*values, slot),
            )
            was = Entry.from_json(before[1])
            old = _terms(was)
            for name, value in old.items():
                if terms.get(name) != value:
                    self._drop[self._term(was, name, value)].append(slot)
            if before[2] != series:
                self._series.add(before[2])
                if before[3]:
                    self._drop[SUPERSEDED].append(slot)
                    self._db.execute("UPDATE entries SET superseded = 0 WHERE slot = ?", (slot,))
        for name, value in terms.items():
            if old.get(name) != value:
                self._put[self._term(entry, name, value)].append(slot)
        self._series.add(series)
        self._places.add((entry.dataset, entry.region))

    def _supersede(self) -> None:
        """Mark all but the highest version of each series touched; equal highest ones all stay current."""
        self._series.discard("")
        touched = json.dumps(sorted(self._series))
        rows = self._db.execute(
            "SELECT series, slot, version, superseded FROM entries WHERE series <> '' "
            "AND series IN (SELECT value FROM json_each(?)) "
            "ORDER BY series",
            (touched,),
        ).fetchall()
        highest: dict[str, tuple[tuple[int, str], ...]] = {}
        for series, _, version, _ in rows:
            highest[series] = max(highest.get(series, ()), version_order(version))
        for series, slot, version, was in rows:
            superseded = version_order(version) < highest[series]
            if superseded != bool(was):
                (self._put if superseded else self._drop)[SUPERSEDED].append(slot)
                self._db.execute("UPDATE entries SET superseded = ? WHERE slot = ?", (superseded, slot))

    def _term(self, entry: Entry, name: str, value: str) -> int:
        term = self._terms.get((name, value))
        if term is None:
            kind = "field" if name in FIELDS else "facet" if name in entry.facets else "attribute" if name else ""
            self._db.execute("INSERT OR IGNORE INTO terms (kind, name, value) VALUES (?, ?, ?)", (kind, name, value))
            (term,) = self._db.execute("SELECT term FROM terms WHERE name = ? AND value = ?", (name, value)).fetchone()
            self._terms[name, value] = term
        return term

    def _write_bits(self) -> None:
        for term in sorted(self._put.keys() | self._drop.keys()):
            put, drop = by_block(self._put.get(term, ())), by_block(self._drop.get(term, ()))
            for block in sorted(put.keys() | drop.keys()):
                at = (term, block)
                row = self._db.execute("SELECT bits FROM postings WHERE term = ? AND block = ?", at).fetchone()
                blob = bitmaps.edit(row[0] if row else None, put.get(block, ()), drop.get(block, ()))
                if blob is None:
                    self._db.execute("DELETE FROM postings WHERE term = ? AND block = ?", at)
                else:
                    self._db.execute(
                        "INSERT OR REPLACE INTO postings (term, block, bits) VALUES (?, ?, ?)", (*at, blob)
                    )
            if drop and term not in (ALL, SUPERSEDED):
                gone = self._db.execute(
                    "DELETE FROM terms WHERE term = ? AND NOT EXISTS (SELECT 1 FROM postings WHERE term = terms.term) "
                    "RETURNING name, value",
                    (term,),
                ).fetchone()
                if gone:
                    del self._terms[gone]
        self._put.clear()
        self._drop.clear()

    def _write_manifest(self, change: Change) -> None:
        assert change.manifest is not None
        assert change.dataset is not None
        assert change.region is not None
        write_manifest(self._db, change.dataset, change.region, change.manifest)

    def _check_count(self, change: Change) -> None:
        if change.expected_entries is None or change.dataset is None or change.region is None:
            return
        query = Query(terms={"dataset": (change.dataset,), "region": (change.region,)}, superseded=True)
        held = bitmaps.count(matching(self._db, query))
        check_count(change, held)


def fill(db: sqlite3.Connection, contents: Iterable[Contents], newest: int) -> None:
    """Write a whole catalog into a file that holds none, with the generations that things have."""
    check_empty(places_of(db))
    for held in contents:
        change = Change(
            upserts=held.entries,
            dataset=held.dataset,
            region=held.region,
            manifest=ManifestChange(put=Listing.in_order(held.objects.parts())),
            holdings=held.holdings,
            expected_entries=len(held.entries),
        )
        Writer(db, held.generation).write(change)
        older = [(e.generation, e.id) for e in held.entries if e.generation != held.generation]
        db.executemany("UPDATE entries SET generation = ? WHERE id = ?", older)
        stones = [(s.id, held.dataset, held.region, s.key, s.part, s.generation) for s in held.tombstones]
        db.executemany(
            "INSERT INTO tombstones (id, dataset, region, key, part, generation) VALUES (?, ?, ?, ?, ?, ?)", stones
        )
    db.execute("UPDATE counter SET generation = max(generation, ?)", (newest,))


def _terms(entry: Entry) -> dict[str, str]:
    terms = entry.terms()
    del terms["key"]  # nearly unique: an index serves it better than bits
    if entry.extent is not None:
        terms[EXTENT] = json.dumps(
            entry.extent
        )  # a term, for entries lie on few grids: a query looks at each grid once
    return terms


def check_current(db: sqlite3.Connection, change: Change) -> None:
    """Refuse a change that builds on what is no longer current."""
    if change.lease is not None:
        check_held(db, change.lease)
    if change.dataset is not None and change.region is not None:
        check_base(change, generation_of(db, change.dataset, change.region))


def check_held(db: sqlite3.Connection, lease: Lease) -> None:
    """Refuse a lease that ended or passed to another owner."""
    row = db.execute(
        "SELECT lease_owner, lease_token FROM places WHERE dataset = ? AND region = ?", (lease.dataset, lease.region)
    ).fetchone()
    check_lease(lease, *(row or (None, None)))
