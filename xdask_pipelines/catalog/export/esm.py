"""Export as an intake-esm collection.

Belongs here: converting entries to rows, and rules for aggregating rows to datasets. Does not belong here: opening data
(access.esm_datastore).

Format: "Earth System Model Collection" of intake-esm, https://intake-esm.readthedocs.io/en/stable/reference/esm-catalog-spec.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.times import time_text
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.system.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

#: Facets along which entries are joined to one dataset; all other facets distinguish datasets.
_ALONG_TIME = frozenset({"time_range", "year", "month", "day"})
_NEW_DIMENSIONS = frozenset({"member_id"})
_VARIABLES = ("variable_id", "variable")
_FORMATS = {"netcdf4": "netcdf", "zarr2": "zarr2", "zarr3": "zarr3"}


def publishable(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that plain intake-esm can open; it has no format for GRIB files."""
    return [entry for entry in entries if entry.format in _FORMATS]


def publish(entries: Sequence[Entry], path_of: Callable[[Entry], str], folder: Path, name: str) -> tuple[Path, int]:
    """Write ``catalog.json`` and its Parquet table, which plain ``intake.open_esm_datastore`` opens.

    Readers see either the old or the new pair: each table has a unique name, and ``catalog.json``, which refers to it,
    is replaced atomically.

    Parameters
    ----------
    entries
        Entries of one layout; those that are not publishable are left out, and at least one must remain.
    path_of
        Returns the address of an entry for readers: ``s3://…``, or a path on this machine.
    folder
        Folder of the files; created if missing.
    name
        Name of the collection.

    Returns
    -------
    The path of ``catalog.json``, and the number of its entries.
    """
    from intake_esm.cat import ESMCatalogModel  # imports intake, which takes a second

    known = publishable(entries)
    frame, described = collection(known, [path_of(entry) for entry in known], name)
    folder.mkdir(parents=True, exist_ok=True)
    generation = max((entry.generation for entry in known), default=0)
    table = folder / f"catalog-{generation}-{len(known)}.parquet"
    write_atomically(table, frame.to_parquet(index=False))
    document = folder / "catalog.json"
    collected = ESMCatalogModel(**described, catalog_file=table.name)
    write_atomically(document, collected.model_dump_json(indent=2, exclude_none=True) + "\n")
    for old in folder.glob("catalog-*.parquet"):
        if old != table:
            old.unlink(missing_ok=True)
    return document, len(known)


def collection(entries: Sequence[Entry], paths: Sequence[str], name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Convert entries to an ESM collection.

    Parameters
    ----------
    entries
        At least one entry, all of one layout.
    paths
        Address of each entry, in the same order.
    name
        Name of the collection.

    Returns
    -------
    A table with one row for each entry, and the description of its columns for intake-esm.

    Raises
    ------
    CatalogError
        If the list is empty, or entries have several layouts.
    """
    import pandas as pd

    layouts = sorted({entry.layout for entry in entries})
    if len(layouts) != 1:
        problem = f"these have the layouts {', '.join(layouts)}" if layouts else "no entry matches"
        raise CatalogError(
            f"An ESM collection needs entries of one layout, but {problem}. Select one dataset in the query"
        )
    facets = sorted({facet for entry in entries for facet in entry.facets})
    variable = next((facet for facet in _VARIABLES if facet in facets), "variable")
    rows = [
        {
            "dataset": entry.dataset,
            "region": entry.region,
            **{facet: entry.facets.get(facet, "") for facet in facets},
            variable: entry.variable,
            "version": entry.version,
            "time_range": _range(entry),
            "size_bytes": entry.size_bytes,
            "format": _FORMATS.get(entry.format, entry.format),
            "path": path,
        }
        for entry, path in zip(entries, paths, strict=True)
    ]
    joined = _ALONG_TIME | _NEW_DIMENSIONS | {variable}
    described = {
        "esmcat_version": "0.0.1",
        "id": name,
        "description": "Written by xdask_pipelines.",
        "attributes": [{"column_name": column} for column in rows[0] if column not in ("path", "format", "size_bytes")],
        "assets": {"column_name": "path", "format_column_name": "format"},
        "aggregation_control": {
            "variable_column_name": variable,
            "groupby_attrs": ["dataset", "region", *(facet for facet in facets if facet not in joined)],
            "aggregations": [
                {"type": "union", "attribute_name": variable},
                {"type": "join_existing", "attribute_name": "time_range", "options": {"dim": "time"}},
                *({"type": "join_new", "attribute_name": f} for f in facets if f in _NEW_DIMENSIONS),
            ],
        },
    }
    return pd.DataFrame(rows), described


def _range(entry: Entry) -> str:
    if entry.time_start is None or entry.time_end is None:
        return ""
    return f"{time_text(entry.time_start)}/{time_text(entry.time_end)}"
