"""One commit to the SQLite catalog, inside its transaction.

Belongs here: changing rows, bits, manifest and tombstones together, and refusing stale writers. Does not belong here:
queries (sqlite_query), transactions (sqlite_file).
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable

from xdask_pipelines.catalog.backend import Change, Contents, Lease, ManifestChange, Query
from xdask_pipelines.catalog.entry import FIELDS, Entry, version_order
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.preconditions import check_base, check_count, check_empty, check_lease, check_removal
from xdask_pipelines.catalog.sqlite import bitmaps
from xdask_pipelines.catalog.sqlite.sqlite_manifest import write_manifest
from xdask_pipelines.catalog.sqlite.sqlite_query import by_block, matching, place_of, places_of
from xdask_pipelines.catalog.sqlite.sqlite_schema import ALL, EXTENT, SUPERSEDED
from xdask_pipelines.catalog.sqlite.sqlite_seals import SEALED, add_place, checked, count_values, reseal, seal, terms_of

NO_LEASE = "lease_owner = NULL, lease_token = NULL, lease_challenger = NULL"


class SqliteCommit:
    """One commit inside its transaction. Bits are collected per term and written once, phase by phase.

    Parameters
    ----------
    db
        Connection with the transaction.
    generation
        Generation of the commit.
    as_they_are
        Whether entries keep their generations, as in a copy of another catalog.
    """

    def __init__(self, db: sqlite3.Connection, generation: int, *, as_they_are: bool = False) -> None:
        self._db = db
        self._generation = generation
        self._as_they_are = as_they_are
        self._terms: dict[tuple[str, str], int] = {}
        self._attributes: set[int] = set()  # numbers of terms that no entry has as a facet
        self._looked_through: set[str] = set()
        self._values: Counter[str] = Counter()
        self._put: defaultdict[int, list[int]] = defaultdict(list)
        self._drop: defaultdict[int, list[int]] = defaultdict(list)
        self._series: set[str] = set()
        self._turned: set[int] = set()
        self._last_slot = 0
        self._places: Counter[tuple[str, str]] = Counter()

    def write(self, change: Change) -> int:
        """Write all changes, and return the generation of the commit."""
        if change.dataset is not None and change.region is not None:
            self._places[change.dataset, change.region] += 0
        # Removals are written before upserts, because a new entry may get a slot that they free.
        for identity in change.removals:
            self._remove(identity, change)
        self._write_bits()
        (buried,) = self._db.execute("SELECT EXISTS (SELECT 1 FROM tombstones)").fetchone()
        (self._last_slot,) = self._db.execute("SELECT coalesce(max(slot), 0) FROM entries").fetchone()
        for entry in change.upserts:
            self._upsert(entry, bool(buried))
        self._write_bits()
        self._supersede()
        self._write_bits()
        reseal(self._db, "entries", "slot IN (SELECT value FROM json_each(?))", (json.dumps(sorted(self._turned)),))
        self._check_count(change)
        self._write_places(change)
        return self._generation

    def _write_places(self, change: Change) -> None:
        """Update generations, counts and manifests."""
        for place, grown in self._places.items():
            add_place(self._db, *place)
            of_change = place == (change.dataset, change.region)
            before = place_of(self._db, *place)
            pieces = before.pieces
            if change.manifest is not None and of_change:
                pieces += write_manifest(self._db, *place, change.manifest)
            if change.expected_entries is not None and of_change:
                entries = change.expected_entries
            elif before.entries is not None or not before.generation:
                entries = (before.entries or 0) + grown
            else:
                entries = self._count(*place)
            holdings = before.holdings if change.holdings is None or not of_change else change.holdings
            values = (self._generation, entries, pieces, holdings, *place)
            of_place = "dataset = ? AND region = ?"
            self._db.execute(
                f"UPDATE places SET generation = ?, entries = ?, pieces = ?, holdings = ?, {NO_LEASE} WHERE {of_place}",
                values,
            )
            reseal(self._db, "places", of_place, place)

    def _remove(self, identity: str, change: Change) -> None:
        row = self._held(identity)
        entry = Entry.from_json(row[1]) if row else None
        check_removal(change, identity, None if entry is None else (entry.dataset, entry.region))
        assert entry is not None
        assert row is not None
        slot, _, series, superseded = row
        self._db.execute("DELETE FROM entries WHERE slot = ?", (slot,))
        for name, value in _terms(entry).items():
            self._drop[self._term(entry, name, value)].append(slot)
        self._drop[ALL].append(slot)
        if superseded:
            self._drop[SUPERSEDED].append(slot)
        self._series.add(series)
        self._places[entry.dataset, entry.region] -= 1
        stone = (identity, entry.dataset, entry.region, entry.key, entry.part, self._generation)
        self._db.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?, ?, ?, ?)", (*stone, seal(*stone)))

    def _held(self, identity: str) -> tuple[int, str, str, int] | None:
        """Return slot, document, series and superseded flag of an existing entry."""
        rows = checked(self._db, "entries", "id = ?", (identity,))
        return (rows[0][0], rows[0][13], rows[0][6], rows[0][8]) if rows else None

    def _upsert(self, entry: Entry, buried: bool) -> None:
        terms, series = _terms(entry), entry.series
        superseded = 0
        old: dict[str, str] = {}
        if (before := self._held(entry.id)) is None:
            slot = self._last_slot = self._last_slot + 1
            if buried:
                self._db.execute("DELETE FROM tombstones WHERE id = ?", (entry.id,))
            self._put[ALL].append(slot)
        else:
            slot = before[0]
            was = Entry.from_json(before[1])
            old = _terms(was)
            for name, value in old.items():
                if terms.get(name) != value:
                    self._drop[self._term(was, name, value)].append(slot)
            if before[2] == series:
                superseded = before[3]
            else:
                self._series.add(before[2])
                if before[3]:
                    self._drop[SUPERSEDED].append(slot)
        self._places[entry.dataset, entry.region] += before is None
        self._put_row(entry, slot, series, superseded)
        for name, value in terms.items():
            if old.get(name) != value:
                self._put[self._term(entry, name, value)].append(slot)
        self._series.add(series)

    def _put_row(self, entry: Entry, slot: int, series: str, superseded: int) -> None:
        generation = entry.generation if self._as_they_are else self._generation
        place = (entry.dataset, entry.region, entry.key, entry.part)
        times = (entry.time_start, entry.time_end)
        content = (*times, entry.digest, generation, entry.to_json())
        row = (slot, entry.id, *place, series, entry.version, superseded, *content)
        time_sum = slot + sum(-1 if time is None else time for time in times)
        self._db.execute(
            f"INSERT OR REPLACE INTO entries ({SEALED['entries']}, time_sum, seal) VALUES ({', '.join('?' * 16)})",
            (*row, time_sum, seal(*row)),
        )

    def _supersede(self) -> None:
        """Mark all but the highest version of each changed series as superseded; equal highest versions stay current."""
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
                self._turned.add(slot)

    def _term(self, entry: Entry, name: str, value: str) -> int:
        term = self._terms.get((name, value))
        if term is None:
            row = self._db.execute(
                "SELECT term, kind FROM terms WHERE name = ? AND value = ?", (name, value)
            ).fetchone()
            if row is None:
                if name not in self._looked_through:  # the value may exist although its index is damaged
                    terms_of(self._db, name, [value])
                    self._looked_through.add(name)
                kind = "field" if name in FIELDS else "facet" if name in entry.facets else "attribute" if name else ""
                added = "INSERT INTO terms (kind, name, value) VALUES (?, ?, ?) RETURNING term, kind"
                row = self._db.execute(added, (kind, name, value)).fetchone()
                self._values[name] += 1
            term = self._terms[name, value] = int(row[0])
            if row[1] == "attribute":
                self._attributes.add(term)
        if term in self._attributes and name in entry.facets:
            self._db.execute("UPDATE terms SET kind = 'facet' WHERE term = ?", (term,))
            reseal(self._db, "terms", "term = ?", (term,))
            self._attributes.remove(term)
        return term

    def _write_bits(self) -> None:
        for term in sorted(self._put.keys() | self._drop.keys()):
            put, drop = by_block(self._put.get(term, ())), by_block(self._drop.get(term, ()))
            grown = 0
            for block in sorted(put.keys() | drop.keys()):
                at = (term, block)
                rows = checked(self._db, "postings", "term = ? AND block = ?", at)
                before = rows[0][2] if rows else None
                blob = bitmaps.edit(before, put.get(block, ()), drop.get(block, ()))
                if blob is None:
                    self._db.execute("DELETE FROM postings WHERE term = ? AND block = ?", at)
                else:
                    row = (*at, blob)
                    self._db.execute("INSERT OR REPLACE INTO postings VALUES (?, ?, ?, ?)", (*row, seal(*row)))
                grown += ((blob is not None) - (before is not None)) * (block + 1)
            if grown:
                self._db.execute("UPDATE terms SET blocks = blocks + ? WHERE term = ?", (grown, term))
                reseal(self._db, "terms", "term = ?", (term,))
            if drop and term not in (ALL, SUPERSEDED):
                gone = self._db.execute(
                    "DELETE FROM terms WHERE term = ? AND blocks = 0 RETURNING name, value", (term,)
                ).fetchone()
                if gone:
                    del self._terms[gone]
                    self._values[gone[0]] -= 1
        count_values(self._db, self._values)
        for collected in (self._put, self._drop, self._values):
            collected.clear()

    def _count(self, dataset: str, region: str) -> int:
        query = Query(terms={"dataset": (dataset,), "region": (region,)}, superseded=True)
        return bitmaps.count(matching(self._db, query))

    def _check_count(self, change: Change) -> None:
        if change.expected_entries is not None and change.dataset is not None and change.region is not None:
            check_count(change, self._count(change.dataset, change.region))


def fill(db: sqlite3.Connection, contents: Iterable[Contents], newest: int) -> None:
    """Write a whole catalog into an empty file, with its generations."""
    check_empty(places_of(db))
    for held in contents:
        change = Change(
            upserts=held.entries,
            dataset=held.dataset,
            region=held.region,
            manifest=ManifestChange(put=ObjectTable.in_order(held.objects.parts())),
            holdings=held.holdings,
            expected_entries=len(held.entries),
        )
        SqliteCommit(db, held.generation, as_they_are=True).write(change)
        stones = [(s.id, held.dataset, held.region, s.key, s.part, s.generation) for s in held.tombstones]
        db.executemany(
            "INSERT INTO tombstones VALUES (?, ?, ?, ?, ?, ?, ?)", [(*stone, seal(*stone)) for stone in stones]
        )
    db.execute("UPDATE counter SET generation = max(generation, ?)", (newest,))


def _terms(entry: Entry) -> dict[str, str]:
    terms = entry.terms()
    del terms["key"]  # nearly unique, so an index is better than bits
    if entry.extent is not None:
        terms[EXTENT] = json.dumps(entry.extent)  # a term, because few grids occur: a query compares each grid once
    return terms


def check_current(db: sqlite3.Connection, change: Change) -> None:
    """Refuse a change that is not based on the current generation."""
    if change.lease is not None:
        check_held(db, change.lease)
    if change.dataset is not None and change.region is not None:
        check_base(change, place_of(db, change.dataset, change.region).generation)


def check_held(db: sqlite3.Connection, lease: Lease) -> None:
    """Refuse a lease that has ended or passed to another owner."""
    row = db.execute(
        "SELECT lease_owner, lease_token FROM places WHERE dataset = ? AND region = ?", (lease.dataset, lease.region)
    ).fetchone()
    check_lease(lease, *(row or (None, None)))
