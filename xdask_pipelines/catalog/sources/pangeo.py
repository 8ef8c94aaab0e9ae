"""Import of an external table of stores, such as ``pangeo-cmip6.csv``, as entries of mounts.

Belongs here: reading the table, and converting rows to entries. Does not belong here: the meaning of paths (layouts),
commits (operations.exchange).

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
GOOGLE = "a copy in Google Cloud (gs://), from which no mount is imported"
ELSEWHERE = "below no source of regions.yaml"
CONTRADICTION = "the row and its path contradict each other"
NO_PATH = "not the path of a Zarr store"
EXCLUDED = "on the exclude list"
TWICE = "there twice"
#: Size of blocks of the file; a row has about 200 bytes. Larger blocks are not faster, and need more memory.
_BLOCK_BYTES = 4_000_000
_METADATA = ".zmetadata"
Place = tuple[str, str]


@dataclass
class Refused:
    """Rows that were refused for one reason: their number, and the first ones."""

    rows: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, line: int, what: str) -> None:
        """Count a row."""
        self.rows += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"line {line}: {what}")


@dataclass(frozen=True)
class Table:
    """The content of a table: number of rows, entries by (dataset, Region) and id, and refused rows by reason."""

    rows: int
    entries: Mapping[Place, Mapping[str, Entry]]
    refused: Mapping[str, Refused]


def read_pangeo(path: Path, mounts: Sequence[Mount], tell: Callable[[str], None] = lambda line: None) -> Table:
    """Convert the rows of a table to the entries that a sync would create, without size, ETag and header.

    A row becomes an entry of each mount whose source contains its store. Nothing is guessed: a row that contradicts its
    own path is refused.

    Parameters
    ----------
    path
        CSV file in UTF-8, with at least the :data:`COLUMNS`; ``.gz`` is decompressed.
    mounts
        Mounts that have a source, such as ``s3://cmip6-pds``.
    tell
        Called with lines of progress.

    Raises
    ------
    CatalogError
        If the file is not such a table.
    """
    entries: defaultdict[Place, dict[str, Entry]] = defaultdict(dict)
    refused: defaultdict[str, Refused] = defaultdict(Refused)
    rows = 0
    with _no_search_for_cycles():
        for batch in _batches(path):
            columns = [batch.column(name).to_pylist() for name in COLUMNS]
            numbered = list(enumerate(zip(*columns, strict=True), rows + 2))  # line 1 has the names of the columns
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
    """Rows and entries have no reference cycles, and searching for cycles took a third of the time."""
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
    except (OSError, KeyError, ValueError) as error:  # pyarrow's errors are subclasses of these
        raise CatalogError(
            f"{path} is not a table of stores: {str(error).strip(chr(39))}. Nothing was imported. It must be CSV in UTF-8 "
            f"with the columns {', '.join(COLUMNS)}"
        ) from error


Row = tuple[str, ...]


def _entries(
    rows: Sequence[tuple[int, Row]], mounts: Sequence[Mount], refused: Mapping[str, Refused]
) -> Iterator[tuple[Entry, int]]:
    """Iterate over the entries of rows, each with its line."""
    at = COLUMNS.index("zstore")
    below: list[dict[str, list[tuple[int, Row]]]] = [{} for _ in mounts]
    for line, row in rows:
        store = row[at].rstrip("/")
        mounts_of_row = 0
        for mount, found in zip(mounts, below, strict=True):
            source = mount.source.rstrip("/")
            if store.startswith(f"{source}/"):
                key = mount.path + store[len(source) :]
                found.setdefault(key, []).append((line, row))
                mounts_of_row += 1
        if not mounts_of_row:
            refused[_why(store)].add(line, row[at] or "no zstore")
    for mount, found in zip(mounts, below, strict=True):
        # The layout parses the path, so that key, id and refusals are the same as for listed stores.
        listed = sorted(StoredObject(f"{key}/{_METADATA}", 1, "", 0) for key in found)
        for entry in (parsed := parse(listed, mount))[0]:
            for line, row in found[entry.key]:
                if differing := _differing(entry, row):
                    refused[CONTRADICTION].add(line, f"{entry.key}: {differing}")
                else:
                    yield replace(entry, size_bytes=0, etag=""), line  # the store has not been listed yet
        for quarantined in parsed[1]:
            reason = EXCLUDED if mount.excludes(quarantined.key) else NO_PATH
            for line, _ in found.get(quarantined.key.removesuffix(f"/{_METADATA}"), ()):
                refused[reason].add(line, f"{quarantined.key}: {quarantined.reason}")


def _why(store: str) -> str:
    if store.startswith("gs://"):
        return GOOGLE
    return ELSEWHERE if "://" in store else NO_PATH


def _differing(entry: Entry, row: Row) -> str:
    """Return the contradiction between a row and its path as text; empty if they agree.

    Decadal predictions have ``s1960-r1i1p1f1`` in the path, and ``r1i1p1f1`` and 1960 in the table. Versions are
    ``v20190815`` in the path, and 20190815 in the table.
    """
    in_row = dict(zip(COLUMNS, row, strict=True))
    started = in_row["dcpp_init_year"].removesuffix(".0")
    if started not in ("", "nan") and not in_row["member_id"].startswith("s"):
        in_row["member_id"] = f"s{started}-{in_row['member_id']}"
    in_row["version"] = f"v{in_row['version'].removeprefix('v')}"
    in_path = {**entry.facets, "version": entry.version}
    return ", ".join(
        f"{name} {in_row[name]!r} and {in_path[name]!r}"
        for name in in_path
        if in_row.get(name, in_path[name]) != in_path[name]
    )
