"""The catalog with a million entries: building, resolving, counting.

Belongs here: jobs, each store beside a table in Parquet, which is what one would pick instead. Does not belong here:
clocks, making the million (million), comparing it with a listing (nightly).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import million
from benchmarks.million import DATASET, ENTRIES, REGION, three

MANY = 50_000
_WANTED = {"variable": "v00700"}
_TIMES = [f"{year}-{month:02}" for year in range(1990, 2000) for month in range(1, 13)]
_NAMES = ("dataset", "region", "layout", "format", "variable", "year", "month")


# ---- building ---------------------------------------------------------------------------------------------------


def _build(store: str) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        from xdask_pipelines.catalog import Change, open_catalog

        entries, name = million.parsed(million.objects(MANY)), secrets.token_hex(6)
        base = (folder / "made" / store).read_text()
        another = million.named(base, f"{urlsplit(base).path[1:]}{name}")  # removed with the first
        url = another if store == "opensearch" else f"sqlite://{folder / name}.sqlite"

        def run() -> int:
            catalog = open_catalog(url)
            catalog.commit(Change(entries, dataset=DATASET, region=REGION, expected_entries=MANY))
            return int(catalog.count())

        return run

    return way


def _build_table(folder: Path) -> Callable[[], Any]:
    objects = million.objects(MANY)

    def run() -> int:
        table = million.table(objects)
        table.to_parquet(folder / "built.parquet")
        return len(table)

    return run


# ---- asking -----------------------------------------------------------------------------------------------------


def _resolve(store: str) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        catalog = million.catalog(folder, store)
        catalog.resolve(dataset=DATASET, **_WANTED, times=_TIMES[:1])  # the connection is there

        return lambda: [e.key for e in catalog.resolve(dataset=DATASET, **_WANTED, times=_TIMES)]

    return way


def _resolve_table(folder: Path) -> Callable[[], Any]:
    import pandas as pd

    def run() -> list[str]:
        table = pd.read_parquet(folder / "made/table.parquet", columns=["key", "variable", "year", "month"])
        table = table[table["variable"] == _WANTED["variable"]]
        return list(table[(table["year"] + "-" + table["month"]).isin(_TIMES)]["key"])

    return run


def _resolve_limit(folder: Path) -> Callable[[], Any]:
    import sqlite3

    keys = [f"era5-pds/{t[:4]}/{t[5:]}/data/{_WANTED['variable']}.nc" for t in _TIMES]
    db = sqlite3.connect(folder / "made/catalog.sqlite")
    wanted = f"SELECT document FROM entries WHERE key IN ({','.join('?' * len(keys))})"
    return lambda: db.execute(wanted, keys).fetchall() and None


def _facets(store: str) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        catalog = million.catalog(folder, store)
        catalog.generation(DATASET, REGION)

        def run() -> dict[str, int]:
            found = catalog.facets(*_NAMES, dataset=DATASET, year="1999")
            return {name: sum(counts.values()) for name, counts in found.items()}

        return run

    return way


def _facets_table(folder: Path) -> Callable[[], Any]:
    import pandas as pd

    def run() -> dict[str, int]:
        table = pd.read_parquet(folder / "made/table.parquet", columns=list(_NAMES))
        table = table[(table["dataset"] == DATASET) & (table["year"] == "1999")]
        return {name: int(table[name].value_counts().sum()) for name in _NAMES}

    return run


def jobs() -> Iterator[tuple[str, str, Callable[[Path], Collection[str]], dict[str, Any]]]:
    """Name, what it is, how its folder is made, and its ways."""
    of = f"of {ENTRIES:,} entries"
    yield "catalog-build", f"{MANY:,} entries in one commit", million.prepare, three(_build, _build_table)
    limit = {"limit: 120 documents by their keys, SQLite": _resolve_limit}
    resolving = three(_resolve, _resolve_table) | limit
    yield "catalog-resolve", f"120 months of one variable {of}", million.prepare, resolving
    yield "catalog-facets", f"seven facets under a filter {of}", million.prepare, three(_facets, _facets_table)
