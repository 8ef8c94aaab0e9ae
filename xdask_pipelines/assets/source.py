"""Catalogued data that an analysis reads: which, in what form, and what of them its version depends on.

Belongs here: asking the catalog for one input. Does not belong here: where it is read (replicas), calling functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from xdask_pipelines.access import open_entries
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.resolve import Replicas
from xdask_pipelines.climate import with_bounds

Facets = Mapping[str, str] | Callable[[Any], Mapping[str, str]]


@dataclass(frozen=True)
class Source:
    """Catalogued data that an analysis reads.

    Parameters
    ----------
    dataset
        Name in ``regions.yaml``.
    facets
        What must fit, exactly; or a function of the asset's config that gives it.
    grid
        True if only the grid is used: the asset then depends on the grid alone, not on the values.
    """

    dataset: str
    facets: Facets = field(default_factory=dict)
    grid: bool = False

    def resolve(self, catalog: Catalog, config: Any, partition: str) -> Replicas:
        """The one entry asked for, in each Region that holds it, or `MissingEntries` or `AmbiguousEntries`."""
        wanted = self.facets(config) if callable(self.facets) else self.facets
        times = [partition] if partition else None
        ((_, replicas),) = catalog.replicas(dataset=self.dataset, times=times, each=None, **wanted)
        return replicas

    def open(self, entry: Entry) -> xr.DataArray | xr.Dataset:
        """Lazy and placed; a file with one variable gives an array."""
        return as_field(open_entries([entry]))

    def version(self, replicas: Replicas) -> str:
        """Digest of what is used of the entry; of all replicas, so that it does not depend on which is read."""
        found = sorted({self._version_of(entry) for entry in replicas})
        return found[0] if len(found) == 1 else digest(found)

    def _version_of(self, entry: Entry) -> str:
        if not self.grid:
            return entry.etag
        coords = (entry.header or {}).get("coords", {})
        return digest({n: c["data"] for n, c in coords.items() if n.startswith(("lat", "lon"))})


def as_field(opened: xr.Dataset) -> xr.DataArray | xr.Dataset:
    """The one variable of a dataset, with its bounds and whose data they are; a dataset of several as it is."""
    said = {k: opened.attrs[k] for k in ("license", "attribution") if k in opened.attrs}
    names = [str(n) for n in opened.data_vars]
    return with_bounds(opened, names[0]).assign_attrs(said) if len(names) == 1 else opened


def digest(value: Any) -> str:
    """Digest of a JSON-ready value, whatever the order of its keys."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
