"""Blocking checks of results: what must hold before anything is made from them.

Belongs here: what is checked, and what a failure says. Does not belong here: the statistics (climate).

Statistics are computed from the stored result, in its Region: the store itself is checked, and a few numbers cross.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import xarray as xr

from xdask_pipelines.access.completeness import Steps
from xdask_pipelines.assets.plain import Analysis
from xdask_pipelines.assets.reuse import source_months
from xdask_pipelines.catalog import Entry
from xdask_pipelines.climate import field_statistics
from xdask_pipelines.climate.axes import horizontal_names
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.placement import Evidence
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.results import LAYOUT, PARTITION, Results

NAMES = ("units", "value_range", "no_nan", "pole_rows", "no_seam", "complete")
#: A seam is a step across 0/360 E above this multiple of the largest step anywhere else.
_SEAM_RATIO = 1.5
_CLOSURE_KELVIN = 1e-5


@dataclass(frozen=True)
class Verdict:
    """Outcome of one check: None if it holds, else what is wrong; ``warn`` if that need not block."""

    problem: str | None
    warn: bool = False


def checks_of(made: Analysis) -> dg.AssetChecksDefinition:
    """All checks of one analysis, as one step that reads its result once.

    A result, or a partition of one, that fails is withdrawn from the catalog: nobody takes it for the current one.
    """
    specs = [dg.AssetCheckSpec(name, asset=made.name, blocking=True, description=_MEANING[name]) for name in NAMES]

    @dg.multi_asset_check(specs=specs, name=f"check_{made.name}", required_resource_keys={"results"})
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        results: Results = context.resources.results.results
        with explained():
            entries = _entries(results, made.name, context.run.run_id)
            verdicts, evidence, figures = _judge(made, results, entries, context.log.info)
            refused = {
                part for of_parts in verdicts.values() for part, v in of_parts.items() if v.problem and not v.warn
            }
            own = [e for e in entries if e.part in refused and e.attributes.get("run_id") == context.run.run_id]
            if own:
                results.catalog.apply(removals=[e.id for e in own])
                named = ", ".join(f"{made.name}[{e.part}]" if e.part else made.name for e in own)
                context.log.warning(f"withdrawn: {named} of this run; what was there before stays current")
        for name in NAMES:
            bad = {part: v for part, v in verdicts[name].items() if v.problem}
            yield dg.AssetCheckResult(
                check_name=name,
                asset_key=made.name,
                passed=not bad,
                severity=dg.AssetCheckSeverity.WARN
                if bad and all(v.warn for v in bad.values())
                else dg.AssetCheckSeverity.ERROR,
                description="; ".join(f"{part}: {v.problem}" if part else str(v.problem) for part, v in bad.items())
                or _MEANING[name],
                metadata={
                    "statistics": dg.MetadataValue.json(figures),
                    **({"evidence": dg.MetadataValue.json(evidence.as_dict())} if name == NAMES[0] else {}),
                },
            )

    return check


_MEANING = {
    "units": "The result states its units, and they are those expected.",
    "value_range": "No value lies outside what is possible.",
    "no_nan": "No cell is without a value.",
    "pole_rows": "The rows nearest to both poles have values.",
    "no_seam": "No step across 0/360 degrees east stands out.",
    "complete": "No hour of a month, and no month of the dataset, is missing.",
}


def _entries(results: Results, asset: str, run_id: str) -> list[Entry]:
    """Entries that this run made, or if it made none, the current ones."""
    own = results.catalog.search(dataset=asset, layout=LAYOUT, run_id=run_id, superseded=True)
    newest = {e.part: e for e in sorted(own, key=lambda e: e.version)}
    return list(newest.values()) or results.find(asset, results.partitions(asset) or [""])


def _judge(
    made: Analysis, results: Results, entries: Sequence[Entry], tell: Any
) -> tuple[dict[str, dict[str, Verdict]], Evidence, dict[str, dict[str, float]]]:
    fields = {e.part: _field(made, results, e) for e in entries}
    lazy = [field_statistics(f) if _is_horizontal(f) else _counts(f) for f in fields.values()]
    found, evidence = results.pools.compute(*lazy, tell=tell)
    figures = {part: {str(n): float(v) for n, v in s.data_vars.items()} for part, s in zip(fields, found, strict=True)}
    verdicts: dict[str, dict[str, Verdict]] = {name: {} for name in NAMES}
    for entry in entries:
        part, field = entry.part, fields[entry.part]
        verdicts["units"][part] = units_verdict(made, field)
        for name, verdict in _values(made, figures[part]).items():
            verdicts[name][part] = verdict
        steps = Steps(**json.loads(said)) if (said := entry.attributes.get("steps")) else None
        verdicts["complete"][part] = complete_verdict(made, results, steps)
    return verdicts, evidence, figures


def _field(made: Analysis, results: Results, entry: Entry) -> xr.DataArray:
    opened = results.open([entry])
    return made.preview(opened.isel({PARTITION: 0}, drop=True) if PARTITION in opened.dims else opened)


def _is_horizontal(field: xr.DataArray) -> bool:
    try:
        return set(horizontal_names(field)) == set(field.dims)
    except ClimateError:
        return False


def _counts(field: xr.DataArray) -> xr.Dataset:
    """What can be said of a result that is no map."""
    return xr.Dataset({"nan_count": field.isnull().sum(), "minimum": field.min(), "maximum": field.max()})


def units_verdict(made: Analysis, field: xr.DataArray) -> Verdict:
    """Whether a result, lazy or stored, states its units, and those that its analysis declares."""
    units = field.attrs.get("units")
    if not units:
        return Verdict(f"{made.name} has no units. Set result.attrs['units'] in its function.")
    if made.units and units != made.units:
        return Verdict(
            f"{made.name} is in {units!r}, not {made.units!r}. Convert it in its function, or mend the file's "
            "units and run `xdask sync`."
        )
    return Verdict(None)


def _values(made: Analysis, figures: Mapping[str, float]) -> dict[str, Verdict]:
    low, high = made.valid_range or (-np.inf, np.inf)
    outside = not (low <= figures["minimum"] and figures["maximum"] <= high)
    answers = {
        "value_range": Verdict(
            f"Values from {figures['minimum']:.2f} to {figures['maximum']:.2f} leave {low:g} to {high:g}. Look at the "
            "map for where, and at the units of the sources."
            if outside and not np.isnan(figures["minimum"])
            else None
        ),
        "no_nan": Verdict(
            f"{figures['nan_count']:.0f} cells have no value. Look at the map for where: a file may lack cells, or a "
            "grid may not cover the globe."
            if figures["nan_count"]
            else None
        ),
        "pole_rows": Verdict(None),
        "no_seam": Verdict(None),
    }
    if "seam_step" in figures:
        bare = [pole for pole in ("south", "north") if not figures[f"{pole}_finite_count"]]
        if bare:
            answers["pole_rows"] = Verdict(f"The row nearest to the {' and '.join(bare)} pole has no value.")
        if figures["seam_step"] > _SEAM_RATIO * figures["largest_step"]:
            answers["no_seam"] = Verdict(
                f"The step across 0/360 E is {figures['seam_step']:.2f}, the largest elsewhere "
                f"{figures['largest_step']:.2f}: a cyclic point is missing."
            )
    return answers


def complete_verdict(made: Analysis, results: Results, steps: Steps | None) -> Verdict:
    """Whether no time step of what a part was read from is missing, and no month upstream."""
    if steps and not steps.complete:
        remedy = (
            "declared as an excerpt in regions.yaml"
            if steps.excerpt
            else "Fetch the whole file and run `xdask sync`, or declare the dataset `excerpt: true` in regions.yaml"
        )
        return Verdict(f"{steps.found} of {steps.expected} hours are there ({remedy}).", warn=steps.excerpt)
    for name in made.upstream:
        if missing := sorted(set(source_months(name, results.catalog)) - set(results.partitions(name))):
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            return Verdict(f"Months of {name} are not materialized: {shown}. Materialize them, then this again.")
    return Verdict(None)


def closure_check() -> dg.AssetChecksDefinition:
    """``temperature_difference = model_bias + climate_signal``, to 1e-5 K in every cell."""
    names = ("temperature_difference", "model_bias", "climate_signal")

    @dg.asset_check(
        asset="climate_signal",
        name="bias_plus_signal_is_difference",
        additional_deps=["temperature_difference", "model_bias"],
        blocking=True,
        required_resource_keys={"results"},
        description=f"model_bias + climate_signal = temperature_difference to {_CLOSURE_KELVIN:g} K in every cell.",
    )
    def closure(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        results: Results = context.resources.results.results
        with explained():
            entries = {name: results.find(name, run_id=context.run.run_id)[0] for name in names}
            if not _same_inputs(entries):
                return dg.AssetCheckResult(
                    passed=False,
                    severity=dg.AssetCheckSeverity.WARN,
                    description="The three results were made from different inputs. Materialize all three in one run.",
                )
            total, bias, signal = (results.open([entries[name]]) for name in names)
            gap = abs(bias + signal - total)
            (worst,), evidence = results.pools.compute(gap.max(), tell=context.log.info)
        return dg.AssetCheckResult(
            passed=bool(worst <= _CLOSURE_KELVIN),
            description=f"largest gap {float(worst):.2e} K",
            metadata={"largest_gap_K": float(worst), "evidence": dg.MetadataValue.json(evidence.as_dict())},
        )

    return closure


def _same_inputs(entries: Mapping[str, Entry]) -> bool:
    """Whether each shared upstream result was the same one for all that used it."""
    used: dict[str, set[str]] = {}
    for entry in entries.values():
        for name, version in json.loads(entry.attributes.get("upstream", "{}")).items():
            used.setdefault(name, set()).add(version)
    return all(len(versions) == 1 for versions in used.values())
