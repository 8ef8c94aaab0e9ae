"""The nightly comparison: last night's listing against this night's, as it arrives from a Region.

Belongs here: the catalog's jobs that sync, each store beside a table in Parquet. Does not belong here: clocks, making the
million (million).

Memory is what the comparison adds to a process that has imported everything and opened the catalog, the listing included.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import million
from benchmarks.million import COLUMNS, DATASET, ENTRIES, REGION, three


def _night(folder: Path, share: float) -> Path:
    """The listing of this night in a file."""
    if not share:
        return folder / "made/listing.parquet"
    with ProcessPoolExecutor(1, get_context("spawn")) as other:  # whose memory does not count
        return other.submit(_changed, folder, share).result()


def _changed(folder: Path, share: float) -> Path:
    """A listing in which some objects have another content."""
    from xdask_pipelines.catalog.manifest.object_table import ObjectTable

    made = ObjectTable.in_order(ObjectTable.unpacked((folder / "made/listing.parquet").read_bytes()))
    columns, every, token = made.table.to_pydict(), round(1 / share), secrets.token_hex(8)
    columns["etag"][::every] = [f"{token}{i:016x}" for i in range(len(columns["etag"][::every]))]
    path = folder / f"{token}.parquet"
    path.write_bytes(ObjectTable.of_columns(*columns.values()).packed())
    return path


def _diff(share: float) -> Callable[[str], Callable[[Path], Callable[[], Any]]]:
    def way_of(store: str) -> Callable[[Path], Callable[[], Any]]:
        def way(folder: Path) -> Callable[[], Any]:
            from xdask_pipelines.catalog.backend import Committed
            from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects
            from xdask_pipelines.catalog.sync import commit_sync, plan_sync

            catalog, night, mount = million.catalog(folder, store), _night(folder, share), million.mount()
            plan_sync([(mount, million.objects(1))], Committed())  # what is imported late is there
            catalog.generation(DATASET, REGION)

            def run() -> int:
                listing = PackedObjects([night.read_bytes()])
                plan = plan_sync([(mount, listing)], catalog.manifest(DATASET, REGION))
                if share:
                    commit_sync(catalog, plan, {})
                return len(plan.added) + len(plan.changed) + len(plan.removed)

            return run

        return way

    return way_of


def _diff_table(share: float) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        import pandas as pd

        path, night = folder / "made/table.parquet", _night(folder, share)
        _import_all(folder)

        def run() -> int:
            now, old = pd.read_parquet(night, columns=COLUMNS), pd.read_parquet(path, columns=COLUMNS)
            # On the key alone: with all columns as keys the same takes more than ten times as long.
            both = now.merge(old, on="key", how="outer", suffixes=("", "_old"), indicator=True)
            differ = both["_merge"] != "both"
            for name in COLUMNS[1:]:
                differ |= both[name] != both[f"{name}_old"]
            news = differ.sum()
            if share:
                kept = pd.read_parquet(path).drop(columns=COLUMNS[1:])
                kept.merge(now, on="key").to_parquet(path)
            return int(news)

        return run

    return way


def _diff_limit(folder: Path) -> Callable[[], Any]:
    import pyarrow.parquet as pq

    _import_all(folder)

    def run() -> None:
        pq.read_table(folder / "made/table.parquet", columns=["key", "etag"])

    return run


def _import_all(folder: Path) -> None:
    """What pandas and pyarrow import late."""
    import pandas as pd

    pd.DataFrame({"key": ["a"]}).to_parquet(folder / "one.parquet")
    pd.read_parquet(folder / "one.parquet")


def jobs() -> Iterator[tuple[str, str, Callable[[Path], Collection[str]], dict[str, Any]]]:
    """Name, what it is, how its folder is made, and its ways. Nothing has changed before the second has run."""
    for name, share, what in (("unchanged", 0.0, "no change"), ("changed", 0.02, "2 % changed, and the commit")):
        yield (
            f"catalog-{name}",
            f"last night's listing against this night's, of {ENTRIES:,} entries: {what}",
            million.prepare,
            three(_diff(share), _diff_table(share)) | {"limit: reading keys and digests from Parquet": _diff_limit},
        )
