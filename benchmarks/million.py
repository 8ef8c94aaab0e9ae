"""A catalog of a million entries, made once for all jobs: in both stores, where a node can be put together, and as a table.

Belongs here: the objects, and making all that jobs look at. Does not belong here: jobs (catalog, nightly).
"""

from __future__ import annotations

import atexit
import hashlib
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

ENTRIES = 1_000_080
REGION, DATASET = "us-east-1", "era5"
SQLITE, OPENSEARCH, TABLE = "ours: SQLite", "ours: OpenSearch", "a table in Parquet, pandas"
#: Columns of a listing.
COLUMNS = ["key", "size_bytes", "etag", "modified_ns"]
_YEARS = 45
_CHUNK = 50_000
_MADE: list[tempfile.TemporaryDirectory[str]] = []


def three(way: Callable[[str], Any], table: Any) -> dict[str, Any]:
    """The same in both stores, and in a table."""
    return {SQLITE: way("sqlite"), OPENSEARCH: way("opensearch"), TABLE: table}


def objects(number: int = ENTRIES) -> list[Any]:
    """A listing, sorted: 45 years of months, each of many variables. Its digests do not compress, as true ones do not."""
    from xdask_pipelines.catalog.manifest.listing import StoredObject

    each = -(-number // (_YEARS * 12))

    def listed() -> Iterator[Any]:
        for year, month, i in product(range(1975, 1975 + _YEARS), range(1, 13), range(each)):
            key = f"era5-pds/{year}/{month:02}/data/v{i:05}.nc"
            digest = hashlib.blake2b(key.encode(), digest_size=16)
            size, second = (int.from_bytes(digest.digest()[at : at + 3]) for at in (0, 3))
            yield StoredObject(key, 10**8 + size, digest.hexdigest(), (10**9 + second) * 10**9)

    return list(islice(listed(), number))


def mount() -> Any:
    """The mount that they lie in."""
    from xdask_pipelines.topology.mount import Mount

    licence = {"license": "CC-BY-4.0", "attribution": "Contains modified Copernicus Climate Change Service information"}
    return Mount(dataset=DATASET, region=REGION, layout="era5-pds", path="era5-pds", attributes=licence)


def parsed(listed: list[Any]) -> list[Any]:
    """Entries of objects."""
    from xdask_pipelines.catalog.layouts import parse

    return [replace(entry, extent=(-180, -90, 180, 90)) for entry in parse(listed, mount())[0]]


def table(listed: list[Any]) -> Any:
    """Objects, and what their paths say, as a table."""
    import pandas as pd

    made = pd.DataFrame([{name: getattr(item, name) for name in COLUMNS} for item in listed])
    parts = made["key"].str.split("/", expand=True)
    made["year"], made["month"], made["variable"] = parts[1], parts[2], parts[4].str.removesuffix(".nc")
    return made.assign(dataset=DATASET, region=REGION, layout="era5-pds", format="netcdf4")


def catalog(folder: Path, store: str) -> Any:
    """The million in one of the stores."""
    from xdask_pipelines.catalog import open_catalog

    return open_catalog((folder / "made" / store).read_text())


def prepare(folder: Path) -> Collection[str]:
    """Make the million, if it is not there; the ways that are left out."""
    from xdask_pipelines.catalog.manifest.object_table import ObjectTable

    if not _MADE:
        _MADE.append(tempfile.TemporaryDirectory())
        made, listed = Path(_MADE[0].name), objects()
        (made / "sqlite").write_text(f"sqlite://{made / 'catalog.sqlite'}")
        _fill(made / "sqlite", listed, lambda: (made / "catalog.sqlite").stat().st_size)
        if node := _node():
            name = f"bench-{secrets.token_hex(6)}"
            (made / "opensearch").write_text(named(node, name))
            atexit.register(_remove, node, name)
            _fill(made / "opensearch", listed, lambda: _stored(node, name))
        table(listed).to_parquet(made / "table.parquet")
        print(f"  table: {(made / 'table.parquet').stat().st_size / 1e9:.2f} GB", flush=True)
        (made / "listing.parquet").write_bytes(ObjectTable.of(listed).packed())
    (folder / "made").symlink_to(_MADE[0].name)
    return () if (folder / "made" / "opensearch").exists() else [OPENSEARCH]


def _node() -> str | None:
    """Address of a catalog on a real node; None, with the reason told, if there can be none."""
    from xdask_pipelines.errors import XdaskError
    from xdask_pipelines.resources.opensearch.search_node import SearchNode

    try:
        return SearchNode(Path("var/opensearch").resolve()).up()
    except XdaskError as error:
        print(f"  without OpenSearch: {error}", flush=True)
        return None


def named(address: str, name: str) -> str:
    """Address of the catalog of another name on the same node."""
    return urlsplit(address)._replace(path=f"/{name}").geturl()


def _stored(address: str, name: str) -> int:
    from xdask_pipelines.catalog.opensearch.opensearch_address import Address
    from xdask_pipelines.catalog.opensearch.opensearch_node import Node

    answer = Node(Address.parse(address)).ask(lambda node: node.indices.stats(index=f"{name}*", metric="store"))
    return int(answer["_all"]["primaries"]["store"]["size_in_bytes"])


def _remove(address: str, name: str) -> None:
    """Give the node its room back."""
    from xdask_pipelines.catalog.opensearch.opensearch_address import Address
    from xdask_pipelines.catalog.opensearch.opensearch_node import Node

    Node(Address.parse(address)).ask(lambda node: node.indices.delete(index=f"{name}*"))


def _fill(address: Path, listed: list[Any], stored: Callable[[], int]) -> None:
    from xdask_pipelines.catalog import Change, ManifestChange, open_catalog
    from xdask_pipelines.catalog.layouts import fingerprint

    store, seconds = open_catalog(address.read_text()), 0.0
    place = {"dataset": DATASET, "region": REGION, "holdings": fingerprint([mount()])}
    for start in range(0, len(listed), _CHUNK):
        some = listed[start : start + _CHUNK]
        entries = parsed(some)
        before = perf_counter()
        store.commit(Change(entries, manifest=ManifestChange(put=some), **place))
        seconds += perf_counter() - before
    print(
        f"  {address.name}: {ENTRIES:,} entries and their manifest in {seconds:.0f} s, {ENTRIES / seconds:,.0f}/s, "
        f"{stored() / 1e9:.2f} GB",
        flush=True,
    )
