"""Details of one catalog entry.

Belongs here: formatting an entry. Does not belong here: finding entries (catalog), reading files (access).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from xdask_pipelines.cli.common import JSON, echo, give, topology
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.system.units import format_bytes

_NAMES = 12


@click.command("show")
@click.argument("key")
@click.option("--region", help="Region, if several have the file.")
@JSON
def catalog_show(key: str, region: str | None, as_json: bool) -> None:
    """Show the entry of one file, store or result.

    KEY is its path, as `xdask catalog search` lists it.
    """
    from xdask_pipelines.catalog import open_catalog

    entries = [
        entry
        for entry in open_catalog(topology().catalog_url).search(key=key, superseded=True)
        if region in (None, entry.region)
    ]
    if not entries:
        raise CatalogError(f"No entry has the key {key}{f' in {region}' if region else ''}; see `xdask catalog search`")
    documents = [json.loads(entry.to_json()) for entry in entries]
    lines = [line for document in documents for line in _lines(document)]
    give(as_json, documents, lambda: echo("\n".join(lines)))


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    header = entry.get("header") or {}
    yield one_line(entry["key"]) + (f"  [{one_line(entry['part'])}]" if entry.get("part") else "")
    yield f"  held         {entry['dataset']} in {entry['region']}, {format_bytes(entry['size_bytes'])}, {entry['format']}"
    if entry.get("facets"):
        yield "  facets       " + ", ".join(f"{k} {one_line(str(v))}" for k, v in sorted(entry["facets"].items()))
    if header.get("time_range"):
        first, last = map(_time, header["time_range"])
        steps = f", {header['steps']:,} steps" if isinstance(header.get("steps"), int) else ""
        yield f"  time         {first} until before {last}{steps}"
    if entry.get("extent"):
        west, south, east, north = entry["extent"]
        yield f"  extent       {west:g} to {east:g} degrees east, {south:g} to {north:g} degrees north"
    for kind in ("variables", "coords"):
        for name, about in list(header.get(kind, {}).items())[:_NAMES]:
            dims = ", ".join(f"{d} {n:,}" for d, n in zip(about["dims"], about["shape"], strict=True)) or "scalar"
            attrs = about.get("attrs", {})
            words = [str(attrs[a]) for a in ("standard_name", "units") if attrs.get(a)]
            label = "variable" if kind == "variables" else "coordinate"
            yield f"  {label:12} {one_line(name)} ({dims})" + (f": {one_line(', '.join(words))}" if words else "")
    for name, value in sorted({**header.get("attrs", {}), **entry.get("attributes", {})}.items()):
        yield f"  {one_line(name)}: {one_line(str(value))}"
    if not header:
        yield "  no header yet: it is read when the entry is first opened, or by `xdask catalog describe`"


def _time(key: Any) -> str:
    text = f"{int(key):014d}"
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" + ("" if text[8:] == "000000" else f" {text[8:10]}:{text[10:12]}")
