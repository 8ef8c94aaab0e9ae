"""The catalog with a million entries: building, resolving, counting, and the nightly comparison with a listing.

Belongs here: the catalog's jobs, each store beside a table in Parquet, which is what one would pick instead. Does not
belong here: clocks. The million is made once for all jobs, in both stores where a node can be put together.
"""

from __future__ import annotations

import atexit
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.request import Request, urlopen

ENTRIES = 1_000_080
MANY = 50_000
_YEARS, _REGION, _DATASET = 45, "us-east-1", "era5"
_CHUNK = 50_000
_WANTED = {"variable": "v00700"}
_TIMES = [f"{year}-{month:02}" for year in range(1990, 2000) for month in range(1, 13)]
_NAMES = ("dataset", "region", "layout", "format", "variable", "year", "month")
_MADE: list[tempfile.TemporaryDirectory[str]] = []


def _objects(number: int = ENTRIES) -> list[Any]:
    """A listing, sorted: 45 years of months, each of many variables."""
    from xdask_pipelines.catalog.listing import StoredObject

    each = -(-number // (_YEARS * 12))
    keys = (
        f"era5-pds/{year}/{month:02}/data/v{i:05}.nc"
        for year in range(1975, 1975 + _YEARS)
        for month in range(1, 13)
        for i in range(each)
    )
    return [StoredObject(key, 10**8 + i, f"{i:032x}", 10**18 + i) for i, key in enumerate(keys)][:number]


def _holding() -> Any:
    from xdask_pipelines.catalog.layouts import Holding

    licence = {"license": "CC-BY-4.0", "attribution": "Contains modified Copernicus Climate Change Service information"}
    return Holding(dataset=_DATASET, region=_REGION, layout="era5-pds", mount="era5-pds", attributes=licence)


def _parsed(objects: list[Any]) -> list[Any]:
    from xdask_pipelines.catalog.layouts import parse

    return [replace(entry, extent=(-180, -90, 180, 90)) for entry in parse(objects, _holding())[0]]


# ---- making it --------------------------------------------------------------------------------------------------


def _node() -> str | None:
    """Beginning of addresses on a real node; None, with the reason told, if there can be none."""
    from xdask_pipelines.errors import XdaskError
    from xdask_pipelines.resources.search_node import SearchNode

    try:
        return SearchNode(Path("var/opensearch").resolve()).up()
    except XdaskError as error:
        print(f"  without OpenSearch: {error}", flush=True)
        return None


def _prepare(folder: Path) -> Collection[str]:
    """Make the million, if it is not there; the ways that are left out."""
    from xdask_pipelines.catalog.columns import Listing

    if not _MADE:
        _MADE.append(tempfile.TemporaryDirectory())
        made = Path(_MADE[0].name)
        node = _node()
        addresses = {"sqlite": f"sqlite://{made / 'catalog.sqlite'}"}
        if node:
            name = f"bench-{secrets.token_hex(6)}"
            addresses["opensearch"] = f"{node}/{name}"
            atexit.register(_remove, f"{node.removeprefix('opensearch+')}/{name}*")
        for name, address in addresses.items():
            (made / name).write_text(address)
            _fill(name, address)
        _table(_objects()).to_parquet(made / "table.parquet")
        (made / "listing.parquet").write_bytes(Listing.of(_objects()).packed())
    (folder / "made").symlink_to(_MADE[0].name)
    return () if (folder / "made" / "opensearch").exists() else [OPENSEARCH]


def _remove(indices: str) -> None:
    """Give the node its room back."""
    urlopen(Request(indices, method="DELETE"), timeout=60).close()


def _fill(name: str, address: str) -> None:
    from xdask_pipelines.catalog import ManifestChange, open_catalog
    from xdask_pipelines.catalog.layouts import fingerprint

    catalog, objects, seconds = open_catalog(address), _objects(), 0.0
    place = {"dataset": _DATASET, "region": _REGION, "holdings": fingerprint([_holding()])}
    for start in range(0, len(objects), _CHUNK):
        some = objects[start : start + _CHUNK]
        entries = _parsed(some)
        before = perf_counter()
        catalog.apply(entries, manifest=ManifestChange(put=some), **place)
        seconds += perf_counter() - before
    print(
        f"  {name}: {ENTRIES:,} entries and their manifest in {seconds:.0f} s, {ENTRIES / seconds:,.0f}/s", flush=True
    )


def _table(objects: list[Any]) -> Any:
    import pandas as pd

    table = pd.DataFrame([_row(item) for item in objects])
    parts = table["key"].str.split("/", expand=True)
    table["year"], table["month"], table["variable"] = parts[1], parts[2], parts[4].str.removesuffix(".nc")
    return table.assign(dataset=_DATASET, region=_REGION, layout="era5-pds", format="netcdf4")


def _row(item: Any) -> dict[str, Any]:
    return {"key": item.key, "size_bytes": item.size_bytes, "etag": item.etag, "modified_ns": item.modified_ns}


def _catalog(folder: Path, store: str) -> Any:
    from xdask_pipelines.catalog import open_catalog

    return open_catalog((folder / "made" / store).read_text())


# ---- building ---------------------------------------------------------------------------------------------------


def _build(store: str) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        from xdask_pipelines.catalog import open_catalog

        entries, name = _parsed(_objects(MANY)), secrets.token_hex(6)
        base = (folder / "made" / store).read_text()
        url = f"{base}{name}" if store == "opensearch" else f"sqlite://{folder / name}.sqlite"

        def run() -> int:
            catalog = open_catalog(url)
            catalog.apply(entries, dataset=_DATASET, region=_REGION, expected_entries=MANY)
            return int(catalog.count())

        return run

    return way


def _build_table(folder: Path) -> Callable[[], Any]:
    objects = _objects(MANY)

    def run() -> int:
        table = _table(objects)
        table.to_parquet(folder / "built.parquet")
        return len(table)

    return run


# ---- asking -----------------------------------------------------------------------------------------------------


def _resolve(store: str) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        catalog = _catalog(folder, store)
        catalog.resolve(dataset=_DATASET, **_WANTED, times=_TIMES[:1])  # the connection is there

        return lambda: [e.key for e in catalog.resolve(dataset=_DATASET, **_WANTED, times=_TIMES)]

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
        catalog = _catalog(folder, store)
        catalog.generation(_DATASET, _REGION)

        def run() -> dict[str, int]:
            found = catalog.facets(*_NAMES, dataset=_DATASET, year="1999")
            return {name: sum(counts.values()) for name, counts in found.items()}

        return run

    return way


def _facets_table(folder: Path) -> Callable[[], Any]:
    import pandas as pd

    def run() -> dict[str, int]:
        table = pd.read_parquet(folder / "made/table.parquet", columns=list(_NAMES))
        table = table[(table["dataset"] == _DATASET) & (table["year"] == "1999")]
        return {name: int(table[name].value_counts().sum()) for name in _NAMES}

    return run


# ---- the nightly comparison -------------------------------------------------------------------------------------


def _night(folder: Path, share: float) -> Path:
    """The listing of another night as a Region sends it, in a file: some objects have another content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not share:
        return folder / "made/listing.parquet"
    table, every, etag = pq.read_table(folder / "made/listing.parquet"), round(1 / share), secrets.token_hex(16)
    etags = [etag if i % every == 0 else was for i, was in enumerate(table["etag"].to_pylist())]
    path = folder / f"{etag}.parquet"
    pq.write_table(table.set_column(table.schema.get_field_index("etag"), "etag", pa.array(etags)), path)
    return path


def _diff(store: str, share: float) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        import pyarrow.compute  # noqa: F401  what is imported late is there

        from xdask_pipelines.catalog.columns import Listing
        from xdask_pipelines.catalog.sync import commit_sync, plan_sync

        catalog, night, holding = _catalog(folder, store), _night(folder, share), _holding()

        def run() -> int:
            listing = Listing.unpacked(night.read_bytes())
            plan = plan_sync([(holding, listing)], catalog.manifest(_DATASET, _REGION))
            if share:
                commit_sync(catalog, plan, {})
            return len(plan.added) + len(plan.changed) + len(plan.removed)

        return run

    return way


def _diff_table(share: float) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        import pandas as pd

        path, night = folder / "made/table.parquet", _night(folder, share)

        def run() -> int:
            columns = ["key", "size_bytes", "etag", "modified_ns"]
            now = pd.read_parquet(night, columns=columns)
            both = now.merge(pd.read_parquet(path, columns=columns), on=columns, how="outer", indicator=True)
            news = both[both["_merge"] != "both"]["key"].nunique()
            if share:
                old = pd.read_parquet(path)
                old.drop(columns=columns[1:]).merge(now, on="key").to_parquet(path)
            return int(news)

        return run

    return way


def _diff_limit(folder: Path) -> Callable[[], Any]:
    import pyarrow.parquet as pq

    columns = ["key", "etag"]
    pq.read_table(folder / "made/table.parquet", columns=columns).slice(0, 1)  # what is imported late is there

    def run() -> None:
        pq.read_table(folder / "made/table.parquet", columns=columns)

    return run


SQLITE, OPENSEARCH, TABLE = "ours: SQLite", "ours: OpenSearch", "a table in Parquet, pandas"


def jobs() -> Iterator[tuple[str, str, Callable[[Path], Collection[str]], dict[str, Any]]]:
    """Name, what it is, how its folder is made, and its ways."""

    def three(sqlite: Any, opensearch: Any, table: Any) -> dict[str, Any]:
        return {SQLITE: sqlite, OPENSEARCH: opensearch, TABLE: table}

    of = f"of {ENTRIES:,} entries"
    yield (
        "catalog-build",
        f"{MANY:,} entries in one commit",
        _prepare,
        three(_build("sqlite"), _build("opensearch"), _build_table),
    )
    yield (
        "catalog-resolve",
        f"120 months of one variable {of}",
        _prepare,
        {
            **three(_resolve("sqlite"), _resolve("opensearch"), _resolve_table),
            "limit: 120 documents by their keys, SQLite": _resolve_limit,
        },
    )
    yield (
        "catalog-facets",
        f"seven facets under a filter {of}",
        _prepare,
        three(_facets("sqlite"), _facets("opensearch"), _facets_table),
    )
    for name, share, what in (("unchanged", 0.0, "no change"), ("changed", 0.02, "2 % changed, and the commit")):
        yield (
            f"catalog-{name}",
            f"last night's listing against this night's, {of}: {what}",
            _prepare,
            {
                **three(_diff("sqlite", share), _diff("opensearch", share), _diff_table(share)),
                "limit: reading keys and digests from Parquet": _diff_limit,
            },
        )
