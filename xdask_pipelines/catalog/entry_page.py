"""An entry as a page of a notebook.

Belongs here: which of its fields people read, and how. Does not belong here: tables of several entries (notebook).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdask_pipelines.catalog.times import time_text
from xdask_pipelines.system.markup import Markup, block, properties, table
from xdask_pipelines.system.units import format_bytes

_NAMES = 20


def entry_page(document: Mapping[str, Any]) -> str:
    """Return the HTML of an entry.

    Parameters
    ----------
    document
        Its fields by name.
    """
    header = document["header"] or {}
    start, end, extent = document["time_start"], document["time_end"], document["extent"]
    held = f"{format_bytes(document['size_bytes'])}, {document['format']}"
    about: dict[str, object] = {
        "key": document["key"] + (f" [{document['part']}]" if document["part"] else ""),
        "Region": document["region"],
        "stored": held + (", knowingly incomplete" if document["excerpt"] else ""),
        "time": "" if start is None else f"{time_text(start)} until before {time_text(end)}",
        "extent": ""
        if extent is None
        else f"{extent[0]:g} to {extent[2]:g} degrees east, {extent[1]:g} to {extent[3]:g} degrees north",
        **document["facets"],
        **document["attributes"],
    }
    rows = [
        (
            name,
            " × ".join(f"{dim} {size:,}" for dim, size in zip(each["dims"], each["shape"], strict=True)) or "scalar",
            each.get("attrs", {}).get("units", ""),
            each.get("attrs", {}).get("long_name") or each.get("attrs", {}).get("standard_name", ""),
        )
        for kind in ("variables", "coords")
        for name, each in list(header.get(kind, {}).items())[:_NAMES]
    ]
    shown = table(("variable", "dimensions", "units", "name"), rows) if rows else Markup()
    unread = "" if header else "It has no header yet: `xdask sync` or `xdask catalog describe` reads it."
    return block(f"{document['dataset']}: {document['variable']}", properties(about), shown, *filter(None, [unread]))
