"""The catalog in intake-esm's words: a datastore that loads lazily and placed, and one that anybody can open.

Belongs here: entries as rows, and what makes one dataset of several rows. Does not belong here: opening data; who can,
says so by the entry point ``xdask_pipelines.openers``, for this floor knows nothing of those above.

Format: "Earth System Model Collection" of intake-esm, https://intake-esm.readthedocs.io/en/stable/reference/esm-catalog-spec.html
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intake_esm.core import esm_datastore
from intake_esm.source import ESMDataSource

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.times import time_text
from xdask_pipelines.errors import CatalogError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

OPENERS = "xdask_pipelines.openers"
#: Facets of which several make one dataset, and how; all other facets tell datasets apart.
_ALONG_TIME = frozenset({"time_range", "year", "month", "day"})
_NEW_DIMENSIONS = frozenset({"member_id"})
_VARIABLES = ("variable_id", "variable")
_FORMATS = {"netcdf4": "netcdf", "zarr2": "zarr2", "zarr3": "zarr3"}


class PlacedDatastore(esm_datastore):
    """An ``esm_datastore`` whose datasets are lazy and read in the Region of their entries."""

    held: Mapping[str, Entry]

    def __getitem__(self, key: str) -> Any:
        """The source of one dataset."""
        if not isinstance(self._entries.get(key), _PlacedSource):
            given = dict(super().__getitem__(key)._captured_init_kwargs)
            held = {"intake_kwargs": {"metadata": {"held": self.held}}}
            self._entries[key] = _PlacedSource(**{**given, **held, "threaded": False})
        return self._entries[key]

    def search(self, require_all_on: str | list[str] | None = None, **query: Any) -> Any:
        """The part of the store that fits; see intake-esm."""
        found: Any = super().search(require_all_on, **query)
        found.held = self.held
        return found


class _PlacedSource(ESMDataSource):
    """One dataset: its entries, opened by whoever can open entries."""

    def _open_dataset(self) -> None:
        import xarray as xr

        open_entries, held = _opener(), self.metadata["held"]
        new = [a.attribute_name for a in self.aggregations or () if a.type.value == "join_new"]
        groups: defaultdict[tuple[Any, ...], list[Mapping[Any, Any]]] = defaultdict(list)
        for record in self.df.to_dict(orient="records"):
            groups[tuple(record[name] for name in (*new, self.variable_column_name))].append(record)
        parts = []
        for values, records in groups.items():
            part = open_entries([held[record[self.path_column_name]] for record in records])
            part = self.preprocess(part) if self.preprocess else part
            names = (
                {self.requested_variables} if isinstance(self.requested_variables, str) else {*self.requested_variables}
            )
            part = part[sorted(names & set(part.data_vars))] if names & set(part.data_vars) else part
            for name, value in zip(new, values, strict=False):
                part = part.assign({v: part[v].expand_dims({name: [value]}) for v in part.data_vars})
            parts.append(part)
        how: dict[str, Any] = self.xarray_combine_by_coords_kwargs
        whole: Any = parts[0] if len(parts) == 1 else xr.combine_by_coords(parts, **how)
        self._ds = whole.assign_attrs({"intake_esm_dataset_key": self.key})


def _opener() -> Callable[[Sequence[Entry]], xr.Dataset]:
    found = list(entry_points(group=OPENERS))
    if len(found) != 1:
        names = ", ".join(str(point.value) for point in found) or "none"
        raise CatalogError(
            f"Exactly one opener of entries must be installed; there is {names}. Install xdask_pipelines again: "
            "make .venv/.ready"
        )
    opener: Callable[[Sequence[Entry]], xr.Dataset] = found[0].load()
    return opener


def placed_datastore(entries: Sequence[Entry]) -> PlacedDatastore:
    """See :meth:`xdask_pipelines.catalog.Catalog.to_esm`."""
    paths = [f"{entry.region}:{entry.key}" + (f"#{entry.part}" if entry.part else "") for entry in entries]
    frame, described = _described(entries, paths, "xdask")
    store = PlacedDatastore({"esmcat": described, "df": frame})
    store.held = dict(zip(paths, entries, strict=True))
    return store


def publishable(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that plain intake-esm can open: not GRIB files, for which it has no word."""
    return [entry for entry in entries if entry.format in _FORMATS]


def publish(entries: Sequence[Entry], path_of: Callable[[Entry], str], folder: Path, name: str) -> tuple[Path, int]:
    """Write ``catalog.json`` and its Parquet table, which plain ``intake.open_esm_datastore`` opens.

    Readers see the old pair or the new one: the table has a name of its own each time, and ``catalog.json``, which names
    it, is replaced at once.

    Parameters
    ----------
    entries
        Of one layout, at least one of them publishable; others are left out.
    path_of
        Where a reader anywhere finds an entry: ``s3://…``, or a path on this machine.
    folder
        Is made.
    name
        Of the collection.

    Returns
    -------
    ``catalog.json``, and how many entries it holds.
    """
    known = publishable(entries)
    frame, described = _described(known, [path_of(entry) for entry in known], name)
    folder.mkdir(parents=True, exist_ok=True)
    generation = max((entry.generation for entry in known), default=0)
    table = folder / f"catalog-{generation}-{len(known)}.parquet"
    partial = table.with_suffix(f".{os.getpid()}")
    frame.to_parquet(partial, index=False)
    partial.replace(table)
    document = folder / "catalog.json"
    partial = document.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({**described, "catalog_file": table.name}, indent=2) + "\n")
    partial.replace(document)
    for old in folder.glob("catalog-*.parquet"):
        if old != table:
            old.unlink(missing_ok=True)
    return document, len(known)


def _described(entries: Sequence[Entry], paths: Sequence[str], name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of entries, and what intake-esm must know of their columns."""
    import pandas as pd

    layouts = sorted({entry.layout for entry in entries})
    if len(layouts) != 1:
        what = f"are of the layouts {', '.join(layouts)}" if layouts else "are none"
        raise CatalogError(
            f"Entries of one layout make an ESM collection, and these {what}. Name one dataset in the query"
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
