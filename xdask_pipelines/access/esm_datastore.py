"""An intake-esm datastore whose datasets are lazy and read in their home Regions.

Belongs here: the datastore. Does not belong here: its rows and their description (catalog.export.esm), opening (open).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr
from intake_esm.core import esm_datastore
from intake_esm.source import ESMDataSource

from xdask_pipelines.access.open import open_entries
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.export.esm import collection


class PlacedDatastore(esm_datastore):
    """An ``esm_datastore`` whose datasets are lazy and read in the Region of their entries."""

    held: Mapping[str, Entry]

    def __getitem__(self, key: str) -> Any:
        """Return the source of one dataset."""
        if not isinstance(self._entries.get(key), _PlacedSource):
            given = dict(super().__getitem__(key)._captured_init_kwargs)
            held = {"intake_kwargs": {"metadata": {"held": self.held}}}
            self._entries[key] = _PlacedSource(**{**given, **held, "threaded": False})
        return self._entries[key]

    def search(self, require_all_on: str | list[str] | None = None, **query: Any) -> Any:
        """Return the matching part of the store; see intake-esm."""
        found: Any = super().search(require_all_on, **query)
        found.held = self.held
        return found


def placed_datastore(entries: Sequence[Entry]) -> PlacedDatastore:
    """Create a datastore from entries, which are opened lazily, each in its Region.

    Parameters
    ----------
    entries
        At least one entry, all of one layout. Members become a dimension and times are joined; all other facets,
        including the Region, distinguish datasets.

    Returns
    -------
    The datastore.

    Raises
    ------
    CatalogError
        If the list is empty, or entries have several layouts.
    """
    paths = [f"{entry.region}:{entry.key}" + (f"#{entry.part}" if entry.part else "") for entry in entries]
    frame, described = collection(entries, paths, "xdask")
    store = PlacedDatastore({"esmcat": described, "df": frame})
    store.held = dict(zip(paths, entries, strict=True))
    return store


class _PlacedSource(ESMDataSource):
    """One dataset: its entries, opened together."""

    def _open_dataset(self) -> None:
        held = self.metadata["held"]
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
