"""The results store: results are computed and written in the Region of their data, and catalogued like any dataset.

Belongs here: writing one result or a range of partitions as an immutable store with entries, and opening it. Does not
belong here: Dagster's contexts (io_manager), writing blocks (access).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np
import xarray as xr

from xdask_pipelines.access import open_entries, written_lazily
from xdask_pipelines.access.header import select_step
from xdask_pipelines.access.write import Written, open_here, write_here
from xdask_pipelines.catalog import Catalog, Change, Entry
from xdask_pipelines.catalog.entry import version_order
from xdask_pipelines.climate import dequantise, quantise
from xdask_pipelines.climate.axes import PARTITION
from xdask_pipelines.climate.grids.shapes import picture_of
from xdask_pipelines.errors import MissingEntries
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.graph.homes import homes_of
from xdask_pipelines.placement.worker.guard import RESULTS_PREFIX
from xdask_pipelines.resources.pools.standing_pools import Pools, Tell
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.topology import Topology

LAYOUT = "result"
Part = xr.DataArray | xr.Dataset
_SINGLE = "xdask_single_variable"


@dataclass(frozen=True)
class Label:
    """The name of a result, its run, and the data version and provenance of each part."""

    asset: str
    run_id: str
    versions: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """A written result: its entries, the field to draw or the reason why there is none, and the evidence."""

    entries: tuple[Entry, ...]
    picture: xr.DataArray | None
    no_picture: str
    evidence: Evidence


@dataclass(frozen=True)
class PreparedResult:
    """A result before it is computed: its Region and store, and the lazy values that write it."""

    region: str
    key: str
    version: str
    lazy: tuple[Any, ...]
    at_home: bool
    no_picture: str = ""


class Results:
    """Writes and reads results of assets.

    Parameters
    ----------
    topology, catalog, pools
        The project's topology, catalog and pools.
    """

    def __init__(self, topology: Topology, catalog: Catalog, pools: Pools) -> None:
        self.topology = topology
        self.catalog = catalog
        self.pools = pools

    # ---- writing ----------------------------------------------------------------------------------------------

    def keep(
        self,
        label: Label,
        parts: Mapping[str, Part],
        preview: Callable[[Part], Any] = lambda part: part,
        tell: Tell | None = None,
    ) -> Kept:
        """Compute and write a result, which becomes visible only when it is complete.

        Parameters
        ----------
        label
            Asset, run, and provenance of each part.
        parts
            The result by partition key; one part with key "" for an asset without partitions.
        preview
            Returns what the picture shows of the first part (`climate.grids.shapes.picture_of` decides whether that is
            possible). A thumbnail of 10 kB is computed together with the result, in its Region.
        tell
            Called with lines of progress.

        Raises
        ------
        AccessError, PlacementError
            If computing or writing fails. Nothing is catalogued then, and a partial store is removed or never visible.
        """
        prepared = self.prepare(label, parts, preview)
        no_picture = prepared.no_picture
        values, evidence = self.pools.compute(*prepared.lazy, tell=tell)
        if prepared.at_home:
            written, *small = values
            picture = dequantise(small[0]) if small else None
        else:
            (here,) = values
            written = write_here(here, self.topology.results_folder(prepared.region) / prepared.key, prepared.key)
            picture, no_picture = picture_of(preview(_unstacked(here)))
        entries = self._entries(label, prepared, written, list(parts))
        self.catalog.commit(Change(upserts=entries))
        return Kept(tuple(entries), picture, no_picture, evidence)

    def prepare(
        self,
        label: Label,
        parts: Mapping[str, Part],
        preview: Callable[[Part], Any] = lambda part: part,
    ) -> PreparedResult:
        """Prepare the computation of `keep` without running it. Parameters as in `keep`."""
        dataset, first = _stacked(parts), next(iter(parts.values()))
        homes = homes_of(dataset)
        version = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{label.run_id}"
        key = f"{RESULTS_PREFIX}{label.asset}/{version}.zarr"
        if len(homes) != 1:  # results of two Regions, or of none, are stored in the client's Region
            return PreparedResult(self.topology.client.region, key, version, (dataset,), at_home=False)
        (region,) = homes
        picture, no_picture = picture_of(preview(first))
        lazy = (written_lazily(dataset, region, key), *([] if picture is None else [quantise(picture)]))
        return PreparedResult(region, key, version, lazy, at_home=True, no_picture=no_picture)

    def _entries(self, label: Label, prepared: PreparedResult, written: Written, parts: list[str]) -> list[Entry]:
        shared: dict[str, Any] = {
            "dataset": label.asset,
            "region": prepared.region,
            "layout": LAYOUT,
            "key": written.key,
            "format": "zarr3",
            "variable": next(name for name, v in written.header["variables"].items() if not v.get("coordinate")),
            "version": prepared.version,
            "size_bytes": written.size_bytes,
            "etag": written.etag,
            "modified_ns": written.modified_ns,
        }
        entries = []
        for i, part in enumerate(parts):
            header = select_step(written.header, PARTITION, i) if part else written.header
            provenance = label.provenance.get(part, Provenance())
            entries.append(
                Entry(
                    **shared,
                    part=part,
                    header={**header, **provenance.in_header()},
                    attributes={
                        "run_id": label.run_id,
                        "data_version": label.versions.get(part, label.run_id),
                        "code_version": provenance.code_version or "none",
                    },
                )
            )
        return entries

    # ---- reading ----------------------------------------------------------------------------------------------

    def find(self, asset: str, partitions: Sequence[str] = ("",), run_id: str | None = None) -> list[Entry]:
        """Return the current entries of an asset: those of the given run if it wrote any, else the latest.

        Raises
        ------
        MissingEntries
            If partitions were never materialized; the message lists them.
        """
        found: dict[str, Entry] = {}
        for entry in filter(Provenance.is_in, self.catalog.search(dataset=asset, layout=LAYOUT, superseded=True)):
            rank = (entry.attributes.get("run_id") == run_id, version_order(entry.version))
            best = found.get(entry.part)
            if best is None or rank > (best.attributes.get("run_id") == run_id, version_order(best.version)):
                found[entry.part] = entry
        missing = [p for p in partitions if p not in found]
        if missing:
            names = [f"{asset}[{p}]" if p else asset for p in missing]
            raise MissingEntries(
                f"Not materialized yet: {', '.join(names)}. Materialize {asset} first, in the UI or with "
                f"`{run_command(asset, missing)}`.",
                missing=tuple(names),
            )
        return [found[p] for p in partitions]

    def partitions(self, asset: str) -> list[str]:
        """Return the materialized partition keys, sorted."""
        return sorted(
            {e.part for e in self.catalog.search(dataset=asset, layout=LAYOUT) if e.part and Provenance.is_in(e)}
        )

    def versions(self, asset: str) -> dict[str, str]:
        """Return the data version of the current result of each partition (``""`` without partitions)."""
        recorded = any(map(Provenance.is_in, self.catalog.search(dataset=asset, layout=LAYOUT)))
        entries = self.find(asset, self.partitions(asset) or [""]) if recorded else []
        return {e.part: e.attributes["data_version"] for e in entries}

    def open(self, entries: Sequence[Entry]) -> Part:
        """Open a result lazily in its home Region; several partitions are joined along ``partition``, in this order.

        Partitions may lie in several Regions. Those in the client's Region are read into memory here.
        """
        opened = [self._open_together(list(group)) for _, group in groupby(entries, key=self._read_together)]
        joined = opened[0] if len(opened) == 1 else _joined(opened)
        result = _as_returned(joined)
        result.encoding["entries"] = tuple(entries)  # the entries are needed for versions and sources
        return result

    def _read_together(self, entry: Entry) -> tuple[str, str]:
        """Return the same value for entries that are opened as one dataset."""
        return entry.region, entry.key if entry.region == self.topology.client.region else ""

    def _open_together(self, entries: Sequence[Entry]) -> xr.Dataset:
        if entries[0].region != self.topology.client.region:
            return open_entries(entries, join=PARTITION)
        store = open_here(self.topology.results_folder(self.topology.client.region) / entries[0].key)
        if PARTITION not in store.dims:
            return store
        keys = json.loads(store[PARTITION].attrs["keys"])
        return store.isel({PARTITION: [keys.index(entry.part) for entry in entries]})


def run_command(asset: str, partitions: Sequence[str] = ()) -> str:
    """Return the command that materializes an asset, from the first to the last of some partitions."""
    keys = sorted(filter(None, partitions))
    return " ".join(["xdask run", asset, *(["--partition", *dict.fromkeys((keys[0], keys[-1]))] if keys else [])])


def _stacked(parts: Mapping[str, Part]) -> xr.Dataset:
    datasets = [_as_dataset(x) for x in parts.values()]
    if list(parts) == [""]:
        return datasets[0]
    # Attributes that differ between parts, such as their hours, are dropped, because they are not valid for the others.
    return _joined(datasets).assign_coords(
        {PARTITION: (PARTITION, np.arange(len(datasets)), {"keys": json.dumps(list(parts))})}
    )


def _joined(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join partitions of one result; numbers that are coordinates, such as the time steps of a partial, are of each."""
    numbers = [n for n, c in datasets[0].coords.items() if c.ndim == 0 and c.dtype.kind in "iuf"]
    shared = [name for name in numbers if all(name in dataset.coords for dataset in datasets)]
    return xr.concat(
        datasets, PARTITION, coords=shared, compat="override", join="exact", combine_attrs="drop_conflicts"
    )


def _unstacked(dataset: xr.Dataset) -> Part:
    """Return the first part in the form in which the analysis returned it."""
    first = dataset.isel({PARTITION: 0}, drop=True) if PARTITION in dataset.dims else dataset
    return _as_returned(first)


def _as_returned(dataset: xr.Dataset) -> Part:
    single = dataset.attrs.get(_SINGLE)
    return dataset[single] if single else dataset


def _as_dataset(x: Part) -> xr.Dataset:
    if isinstance(x, xr.Dataset):
        return x
    name = str(x.name or "result")
    return x.rename(name).to_dataset().assign_attrs({_SINGLE: name})
