"""Catalogued data that an analysis reads: which, in what form, and what of them its version depends on.

Belongs here: asking the catalog for one input. Does not belong here: where it is read (replicas), calling functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from xdask_pipelines.access import open_entries
from xdask_pipelines.access.completeness import steps_of
from xdask_pipelines.access.time_selection import within
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.resolve import Replicas
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.climate import with_bounds
from xdask_pipelines.climate.times.periods import EXCERPT

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

    def open(self, entry: Entry, partition: str = "") -> xr.DataArray | xr.Dataset:
        """Lazy and placed, cut to a partition; a file with one variable gives an array.

        Steps that a file lacks are counted by the check ``complete`` of the result, which withdraws one partition and not
        all of a run.
        """
        return opened_field([entry], [time_range(partition)] if partition else [], holes_are_checked=True)

    def version(self, replicas: Replicas) -> str:
        """Digest of what is used of the entry; of all replicas, so that it does not depend on which is read."""
        found = sorted({self._version_of(entry) for entry in replicas})
        return found[0] if len(found) == 1 else digest(found)

    def _version_of(self, entry: Entry) -> str:
        if not self.grid:
            return entry.etag
        coords = (entry.header or {}).get("coords", {})
        return digest({n: c["data"] for n, c in coords.items() if _is_horizontal(n, c)})


def _is_horizontal(name: str, coordinate: Mapping[str, Any]) -> bool:
    """Whether a coordinate in a header, or bounds by their name, says where cells lie."""
    attrs = coordinate["attrs"]
    by_attributes = attrs.get("standard_name") in ("latitude", "longitude") or attrs.get("axis") in ("X", "Y")
    return by_attributes or str(attrs.get("units", "")).startswith("degree") or name.startswith(("lat", "lon"))


def opened_field(
    entries: Sequence[Entry], periods: Sequence[tuple[int, int]] = (), *, holes_are_checked: bool = False
) -> xr.DataArray | xr.Dataset:
    """Entries as analyses and notebooks get them: joined, cut to whole periods, with their bounds and whose data they are.

    Parameters
    ----------
    entries
        Of one Region.
    periods
        Half-open ranges of time keys; none: all that there is.
    holes_are_checked
        As `within` takes it.

    Returns
    -------
    DataArray if there is one variable, else Dataset. Attributes: ``license`` and ``attribution``; ``excerpt`` if the data
    are knowingly incomplete, or their holes are counted elsewhere: functions of `climate` then let holes pass.
    """
    opened = within(open_entries(entries), entries, periods, holes_are_checked=holes_are_checked)
    if timeless := [name for name in (entries[0].header or {}).get("timeless", ()) if name in opened.dims]:
        opened = opened.isel(dict.fromkeys(timeless, 0), drop=True)
    said = {k: opened.attrs[k] for k in ("license", "attribution") if k in opened.attrs}
    counted = [str(steps) for entry in entries if (steps := steps_of(entry)) and not steps.complete]
    if any(entry.excerpt for entry in entries) or (counted and holes_are_checked):
        said[EXCERPT] = "; ".join(dict.fromkeys(counted)) or "excerpt"
    names = [str(n) for n in opened.data_vars]
    if len(names) != 1:
        return opened.assign_attrs(said)
    bounds = {str(c.attrs.get("bounds", c.encoding.get("bounds"))) for c in opened.coords.values()}
    lazy = [name for name in bounds if name in opened.coords and opened[name].chunks is not None]
    return with_bounds(opened.drop_vars(lazy), names[0]).assign_attrs(said)  # an array cannot carry vertices of cells


def digest(value: Any) -> str:
    """Digest of a JSON-ready value, whatever the order of its keys."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
