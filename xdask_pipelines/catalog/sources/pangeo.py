"""A table of stores that somebody else keeps, such as ``pangeo-cmip6.csv``, as entries of our own mounts.

Belongs here: reading the table, and which of its rows are entries. Does not belong here: what a path means (layouts), or
committing (a higher floor).

Format: https://pangeo-data.github.io/pangeo-cmip6-cloud/accessing_data.html
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.layouts import parse
from xdask_pipelines.catalog.layouts.cmip6_pds_layout import Cmip6Pds
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.topology.mount import Mount

COLUMNS = (*Cmip6Pds.FACETS, "zstore", "dcpp_init_year", "version")
EXAMPLES = 10
GOOGLE = "a copy in Google Cloud (gs://), which no mount is imported from"
ELSEWHERE = "below no source of regions.yaml"
CONTRADICTION = "what the row says and what its path says differ"
NO_PATH = "no path of a Zarr store"
EXCLUDED = "on the exclude list"
TWICE = "there twice"
#: A block of the file; a row has some 200 bytes. Larger ones are not faster, and cost memory.
_BLOCK_BYTES = 4_000_000
_METADATA = ".zmetadata"
Place = tuple[str, str]


@dataclass
class Refused:
    """Rows that are no entries for one reason: how many, and the first of them."""

    rows: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, line: int, what: str) -> None:
        """Count a row."""
        self.rows += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"line {line}: {what}")


@dataclass(frozen=True)
class Table:
    """What a table holds: rows read, entries by (dataset, Region) and id, and rows that are none by reason."""

    rows: int
    entries: Mapping[Place, Mapping[str, Entry]]
    refused: Mapping[str, Refused]


def read_pangeo(path: Path, mounts: Sequence[Mount], tell: Callable[[str], None] = lambda line: None) -> Table:
    """Rows of a table as the entries that a sync would make of the same stores, without size, ETag and header.

    A row becomes an entry of each mount whose source its store lies below. Nothing is guessed: a row that differs from its
    own path is refused, whichever of them is right.

    Parameters
    ----------
    path
        CSV file in UTF-8, with all of :data:`COLUMNS` and perhaps more; ``.gz`` is unpacked.
    mounts
        Mounts that have a source, such as ``s3://cmip6-pds``.
    tell
        Is told of progress.

    Raises
    ------
    CatalogError
        The file is no such table.
    """
    entries: defaultdict[Place, dict[str, Entry]] = defaultdict(dict)
    refused: defaultdict[str, Refused] = defaultdict(Refused)
    rows = 0
    with _no_search_for_cycles():
        for batch in _batches(path):
            columns = [batch.column(name).to_pylist() for name in COLUMNS]
            numbered = list(enumerate(zip(*columns, strict=True), rows + 2))  # line 1 names the columns
            for entry, line in _entries(numbered, mounts, refused):
                held = entries[entry.dataset, entry.region]
                if entry.id in held:
                    refused[TWICE].add(line, entry.key)
                held.setdefault(entry.id, entry)
            rows += len(numbered)
            tell(f"{rows} rows read")
    return Table(rows, entries, refused)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Rows and entries refer to nothing that refers to them; looking for what does took a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    texts = csv.ConvertOptions(
        column_types=dict.fromkeys(COLUMNS, pa.string()),
        include_columns=list(COLUMNS),
        strings_can_be_null=False,
    )
    try:
        yield from csv.open_csv(path, csv.ReadOptions(block_size=_BLOCK_BYTES), convert_options=texts)
    except (OSError, KeyError, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise CatalogError(
            f"{path} is no table of stores: {str(error).strip(chr(39))}. Nothing was imported. It must be CSV in UTF-8 with "
            f"the columns {', '.join(COLUMNS)}"
        ) from error


Row = tuple[str, ...]


def _entries(
    rows: Sequence[tuple[int, Row]], mounts: Sequence[Mount], refused: Mapping[str, Refused]
) -> Iterator[tuple[Entry, int]]:
    """Entries of some rows, each with its line."""
    at = COLUMNS.index("zstore")
    below: list[dict[str, list[tuple[int, Row]]]] = [{} for _ in mounts]
    for line, row in rows:
        store = row[at].rstrip("/")
        its = 0
        for mount, found in zip(mounts, below, strict=True):
            source = mount.source.rstrip("/")
            if store.startswith(f"{source}/"):
                key = mount.path + store[len(source) :]
                found.setdefault(key, []).append((line, row))
                its += 1
        if not its:
            refused[_why(store)].add(line, row[at] or "no zstore")
    for mount, found in zip(mounts, below, strict=True):
        # The layout itself says what a path means: the same key, id and refusals as when these stores are listed.
        listed = sorted(StoredObject(f"{key}/{_METADATA}", 1, "", 0) for key in found)
        for entry in (parsed := parse(listed, mount))[0]:
            for line, row in found[entry.key]:
                if differing := _differing(entry, row):
                    refused[CONTRADICTION].add(line, f"{entry.key}: {differing}")
                else:
                    yield replace(entry, size_bytes=0, etag=""), line  # nobody has listed it yet
        for quarantined in parsed[1]:
            reason = EXCLUDED if mount.excludes(quarantined.key) else NO_PATH
            for line, _ in found.get(quarantined.key.removesuffix(f"/{_METADATA}"), ()):
                refused[reason].add(line, f"{quarantined.key}: {quarantined.reason}")


def _why(store: str) -> str:
    if store.startswith("gs://"):
        return GOOGLE
    return ELSEWHERE if "://" in store else NO_PATH


def _differing(entry: Entry, row: Row) -> str:
    """What of a row contradicts its path, in words; empty if nothing does.

    Decadal predictions have ``s1960-r1i1p1f1`` in the path where the table has ``r1i1p1f1`` and 1960. The path has
    ``v20190815`` where the table has 20190815.
    """
    said = dict(zip(COLUMNS, row, strict=True))
    started = said["dcpp_init_year"].removesuffix(".0")
    if started not in ("", "nan") and not said["member_id"].startswith("s"):
        said["member_id"] = f"s{started}-{said['member_id']}"
    said["version"] = f"v{said['version'].removeprefix('v')}"
    its = {**entry.facets, "version": entry.version}
    return ", ".join(
        f"{name} {said[name]!r} and {its[name]!r}" for name in its if said.get(name, its[name]) != its[name]
    )
