"""The IO manager: it computes and stores lazy results in their home Regions, and loads them lazily.

Belongs here: converting Dagster's contexts for `Results`, and the metadata of a materialization. Does not belong here:
computing and writing (results), drawing (climate.drawing).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import xarray as xr

from xdask_pipelines.catalog import Entry
from xdask_pipelines.climate import area_weighted_mean
from xdask_pipelines.climate.grids.shapes import shape_of
from xdask_pipelines.errors import ClimateError, XdaskError
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.footprint import in_words
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.result_summary import figure_text, summary
from xdask_pipelines.resources.results import Kept, Label, Results
from xdask_pipelines.system.files import write_atomically
from xdask_pipelines.system.safe_text import markdown
from xdask_pipelines.topology import Topology


@dataclass(frozen=True)
class Result:
    """The result of an analysis for the IO manager: lazy parts and their provenance."""

    parts: Mapping[str, xr.DataArray | xr.Dataset]
    versions: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    sources: tuple[Entry, ...] = ()
    caveat: str = ""
    preview: Callable[[Any], xr.DataArray] = lambda result: result

    @property
    def data_version(self) -> str:
        """Return one version for all parts."""
        if len(self.versions) == 1:
            return next(iter(self.versions.values()))
        return hashlib.blake2b("".join(self.versions.values()).encode(), digest_size=16).hexdigest()

    @property
    def made_from(self) -> Provenance:
        """Return the provenance of any part, for properties that all parts share."""
        return next(iter(self.provenance.values()), Provenance())

    def every(self, name: str) -> list[str]:
        """Return the texts of one field in the provenance of all parts, sorted and unique."""
        return sorted({text for one in self.provenance.values() for text in getattr(one, name)})


def entries_of(x: Any) -> tuple[Entry, ...]:
    """Return the catalog entries from which a loaded input was opened."""
    found: tuple[Entry, ...] = x.encoding.get("entries", ())
    return found


class ResultsIOManager(dg.IOManager):
    """Stores results in the Region of their data, as immutable stores with one catalog entry for each partition."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Compute, write and catalogue a result, and add evidence to the metadata."""
        result = obj if isinstance(obj, Result) else Result(_plain_parts(context, obj))
        asset = context.asset_key.to_python_identifier()
        label = Label(asset, context.run_id, result.versions, result.provenance)
        with explained():
            kept = self.results.keep(label, result.parts, result.preview, context.log.info)
        pictures = self.results.topology.var / "pictures"
        context.add_output_metadata(
            _metadata(asset, result, kept, pictures, context.run_id, self.results.pools.dashboard)
            | _region_names(kept.evidence, self.results.topology)
        )

    def load_input(self, context: dg.InputContext) -> xr.DataArray | xr.Dataset:
        """Load an upstream result lazily: the one of this run if it exists, else the latest."""
        asset = context.asset_key.to_python_identifier()
        with explained():
            return self.results.open(
                self.results.find(asset, self._partitions(context, asset), context.step_context.run_id)
            )

    def _partitions(self, context: dg.InputContext, asset: str) -> list[str]:
        if not context.has_asset_partitions:
            return [""]
        wanted = list(context.asset_partition_keys)
        if not context.step_context.has_partition_key and not context.step_context.has_partition_key_range:
            # An asset without partitions gets all existing months; its check verifies that they are complete.
            return self.results.partitions(asset) or wanted[:1]
        return wanted


def _plain_parts(context: dg.OutputContext, obj: Any) -> dict[str, xr.DataArray | xr.Dataset]:
    if not isinstance(obj, (xr.DataArray, xr.Dataset)):
        raise XdaskError(
            f"{context.asset_key.to_user_string()} returned {type(obj).__name__}; the results store accepts only "
            "xarray.DataArray and xarray.Dataset. Return one, or give the asset another io_manager_key."
        )
    keys = list(context.asset_partition_keys) if context.has_asset_partitions else [""]
    if len(keys) > 1:
        raise XdaskError(
            f"{context.asset_key.to_user_string()} was run for {len(keys)} partitions at once. Define it with "
            "xdask_pipelines.assets.analysis, which calls the function for each partition separately."
        )
    return {keys[0]: obj}


def _metadata(asset: str, result: Result, kept: Kept, pictures: Path, run_id: str, dashboard: str) -> dict[str, Any]:
    """Return metadata in the order of the page: the picture, the sources, and the evidence."""
    evidence, entry = kept.evidence, kept.entries[0]
    metadata = _picture(asset, result, kept.picture, kept.no_picture, pictures, run_id)
    made_from = result.made_from
    units = str(metadata.get("units", ""))
    figures = {
        "value": "value" in metadata and figure_text(metadata["value"], units),
        "area-weighted mean": "area_weighted_mean" in metadata and figure_text(metadata["area_weighted_mean"], units),
    }
    facts = {
        **{name: text for name, text in figures.items() if text},
        "picture": metadata.get("picture", ""),
        "scenario": ", ".join(result.every("experiments")),
        "excerpt": "; ".join(result.every("excerpts")),
        "partitions": ", ".join(filter(None, result.parts)),
        "tasks outside their Region": evidence.misplaced_tasks,
    }
    has_picture = "map" in metadata or "plot" in metadata
    shown_first = {"result": dg.MetadataValue.md(summary(asset, run_id, has_picture, facts, evidence))}
    metadata = shown_first | metadata
    if excerpts := result.every("excerpts"):
        metadata["excerpt"] = "; ".join(excerpts)
    gaps = {n: str(s) for one in result.provenance.values() for n, s in one.steps.items() if not s.complete}
    if gaps:
        metadata["incomplete"] = dg.MetadataValue.json(gaps)
    if experiments := result.every("experiments"):
        metadata["experiments"] = ", ".join(experiments)
    if made_from.config:
        metadata["config"] = dg.MetadataValue.json(dict(made_from.config))
    if made_from.replicas:
        metadata["replicas"] = "; ".join(made_from.replicas)
    if dashboard:
        metadata["dashboard"] = dg.MetadataValue.url(dashboard)
    return metadata | {
        "sources": _sources_table(result.sources),
        "attribution": dg.MetadataValue.md("; ".join(map(markdown, result.every("attributions"))) or "none"),
        "misplaced_tasks": evidence.misplaced_tasks,
        "footprint": in_words(evidence.as_dict()),
        "store": f"{entry.region}:{entry.key}",
        "size_bytes": entry.size_bytes,
        "digest": entry.etag,
        "code_version": made_from.code_version,
        "evidence": dg.MetadataValue.json(evidence.as_dict()),
    }


def _region_names(evidence: Evidence, topology: Topology) -> dict[str, str]:
    """Return who the Regions of evidence are, as text, if any has a name for people."""
    seen = {*evidence.tasks_by_region, *(region for pair in evidence.bytes_across for region in pair.split("->"))}
    named = {region: name for region, name in sorted(topology.region_names.items()) if region in seen}
    return {"regions": "; ".join(f"{region}: {name}" for region, name in named.items())} if named else {}


def _picture(
    asset: str, result: Result, field_: xr.DataArray | None, no_picture: str, folder: Path, run_id: str
) -> dict[str, Any]:
    """Return the picture of a result, which is also written to a file; or its only value; or why it has neither."""
    if field_ is None:
        return {"picture": no_picture}
    units = {"units": str(field_.attrs.get("units", ""))}
    if field_.ndim == 0:
        value = float(field_)
        return {"value": value if np.isfinite(value) else str(value), **units}
    if not np.isfinite(field_).any():
        return {"picture": "no picture: the result has no finite value", **units}
    # takes a second to import, which would delay loading the code location
    from xdask_pipelines.climate.drawing.plots import draw

    shape = shape_of(field_)
    excerpts = result.every("excerpts")
    subtitle = "; ".join(filter(None, [*excerpts, result.caveat if excerpts else ""]))
    title = ", ".join([asset.replace("_", " "), *result.every("experiments")])
    if str(field_.attrs.get("long_name", "")) in _inherited_names(result.sources):
        field_ = field_.assign_attrs(long_name=asset.replace("_", " "))
    try:
        png = draw(field_, title, subtitle or None)
    except ClimateError as error:  # the result is stored and checked without a picture
        return {"picture": f"no picture: {error}", **units}
    image = dg.MetadataValue.md(f"![{markdown(asset)}](data:image/png;base64,{base64.b64encode(png).decode()})")
    metadata = {**saved_picture(png, folder / asset / f"{run_id}.png"), **units}
    if shape != "map":
        return {"map" if shape in ("native map", "maps") else "plot": image, **metadata}
    mean = float(field_.attrs["area_mean"]) if "area_mean" in field_.attrs else float(area_weighted_mean(field_))
    return {"map": image, **({"area_weighted_mean": mean} if np.isfinite(mean) else {}), **metadata}


def _inherited_names(sources: tuple[Entry, ...]) -> set[str]:
    """Return the long names of the inputs: of a result that carries one, it names the input, and not the result."""
    variables = [variable for entry in sources for variable in (entry.header or {}).get("variables", {}).values()]
    return {str(variable.get("attrs", {}).get("long_name", "")) for variable in variables} - {""}


def saved_picture(png: bytes, file: Path) -> dict[str, Any]:
    """Write the picture to a file of its run, and return metadata with its path; empty if it cannot be written."""
    try:
        write_atomically(file, png)
    except OSError:
        return {}
    return {"picture_file": dg.MetadataValue.path(file)}


def _sources_table(sources: tuple[Entry, ...]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "dataset": e.dataset,
                    "region": e.region,
                    "key": e.key,
                    "part": e.part,
                    "digest": e.etag,
                    "bytes": e.size_bytes,
                }
            )
            for e in sources
        ],
        dg.TableSchema([dg.TableColumn(n, "int" if n == "bytes" else "string") for n in _SOURCE_COLUMNS]),
    )


#: The longest column is last, for narrow pages.
_SOURCE_COLUMNS = ("dataset", "region", "bytes", "digest", "part", "key")


def evidence_of(metadata: Mapping[str, Any]) -> Evidence:
    """Return the evidence in a materialization's metadata."""
    return Evidence.from_dict(metadata["evidence"].value)
