"""The results store: results are computed and written in the Region of their data, and catalogued like any dataset.

Belongs here: writing one result or a range of partitions as an immutable store with entries, and opening it. Does not
belong here: Dagster's contexts (io_manager), writing blocks (access).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import xarray as xr

from xdask_pipelines.access import open_entries, written_lazily
from xdask_pipelines.access.header import select_steps
from xdask_pipelines.access.write import Written, open_here, write_here
from xdask_pipelines.catalog import Catalog, Change, Entry
from xdask_pipelines.catalog.entry import version_order
from xdask_pipelines.climate import dequantise, quantise
from xdask_pipelines.climate.grids.shapes import picture_of
from xdask_pipelines.errors import AccessError, MissingEntries
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.graph.homes import homes_of
from xdask_pipelines.placement.worker.guard import RESULTS_PREFIX
from xdask_pipelines.resources.parts import (
    Part,
    joined,
    joined_along,
    only,
    own_steps,
    own_time,
    stacked,
    steps_in_store,
)
from xdask_pipelines.resources.pools.standing_pools import Pools, Tell
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.topology import Topology

LAYOUT = "result"
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
            picture, no_picture = picture_of(preview(_first(here, parts)))
        entries = self._entries(label, prepared, written, parts)
        self.catalog.commit(Change(upserts=entries))
        return Kept(tuple(entries), picture, no_picture, evidence)

    def prepare(
        self,
        label: Label,
        parts: Mapping[str, Part],
        preview: Callable[[Part], Any] = lambda part: part,
    ) -> PreparedResult:
        """Prepare the computation of `keep` without running it. Parameters as in `keep`."""
        dataset, first = stacked(_as_datasets(parts)), next(iter(parts.values()))
        # Areas of cells from another Region are carried along, and do not move the result.
        homes = homes_of(dataset.reset_coords(drop=True)) or homes_of(dataset)
        version = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{label.run_id}"
        key = f"{RESULTS_PREFIX}{label.asset}/{version}.zarr"
        if len(homes) != 1:  # results of two Regions, or of none, are stored in the client's Region
            return PreparedResult(self.topology.client.region, key, version, (dataset,), at_home=False)
        (region,) = homes
        picture, no_picture = picture_of(preview(first))
        lazy = (written_lazily(dataset, region, key), *([] if picture is None else [quantise(picture)]))
        return PreparedResult(region, key, version, lazy, at_home=True, no_picture=no_picture)

    def _entries(
        self, label: Label, prepared: PreparedResult, written: Written, parts: Mapping[str, Part]
    ) -> list[Entry]:
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
        dim, steps = steps_in_store(_as_datasets(parts))
        for part in parts:
            header = select_steps(written.header, dim, *steps[part]) if part else written.header
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
        """Open a result lazily in its home Region; several partitions are joined along time or ``partition`` (`parts`).

        Partitions may lie in several Regions. Those in the client's Region are read into memory here.

        Raises
        ------
        AccessError
            If some partitions have steps of time and others have not, because the code changed between them.
        """
        forms = {joined_along(entry): entry.part for entry in entries}
        if len(forms) > 1:
            asset, parts = entries[0].dataset, [entry.part for entry in entries]
            raise AccessError(
                f"The partitions {' and '.join(sorted(forms.values()))} of {asset} have different dimensions, because its "
                f"code has changed between them. Compute all of them with `{run_command(asset, parts)}`, then try again."
            )
        opened = [self._open_together(list(group)) for _, group in groupby(entries, key=self._read_together)]
        result = _as_returned(self._joined(opened, entries[0]))
        result.encoding["entries"] = tuple(entries)  # the entries are needed for versions and sources
        return result

    def _read_together(self, entry: Entry) -> tuple[str, str]:
        """Return the same value for entries that are opened as one dataset."""
        return entry.region, entry.key if entry.region == self.topology.client.region else ""

    def _open_together(self, entries: Sequence[Entry]) -> xr.Dataset:
        if entries[0].region != self.topology.client.region:
            return open_entries(entries, join=joined_along(entries[0]))
        store = open_here(self.topology.results_folder(self.topology.client.region) / entries[0].key)
        return self._joined([store.isel(own_steps(entry)) for entry in entries], entries[0])

    def _joined(self, datasets: Sequence[xr.Dataset], entry: Entry) -> xr.Dataset:
        return (
            datasets[0] if len(datasets) == 1 else joined(datasets, joined_along(entry) or str(own_time(datasets[0])))
        )


def run_command(asset: str, partitions: Sequence[str] = ()) -> str:
    """Return the command that materializes an asset, from the first to the last of some partitions."""
    keys = sorted(filter(None, partitions))
    return " ".join(["xdask run", asset, *(["--partition", *dict.fromkeys((keys[0], keys[-1]))] if keys else [])])


def _first(dataset: xr.Dataset, parts: Mapping[str, Part]) -> Part:
    """Return the first part of what `stacked` returned, in the form in which the analysis returned it."""
    dim, steps = steps_in_store(_as_datasets(parts))
    start, stop = next(iter(steps.values()))
    return only(_as_returned(dataset.isel({dim: slice(start, stop)}) if dim in dataset.dims else dataset))


def _as_datasets(parts: Mapping[str, Part]) -> dict[str, xr.Dataset]:
    return {key: _as_dataset(part) for key, part in parts.items()}


def _as_returned(dataset: xr.Dataset) -> Part:
    single = dataset.attrs.get(_SINGLE)
    return dataset[single] if single else dataset


def _as_dataset(x: Part) -> xr.Dataset:
    if isinstance(x, xr.Dataset):
        return x
    name = str(x.name or "result")
    return x.rename(name).to_dataset().assign_attrs({_SINGLE: name})
