"""Blocking checks of results: what must hold before anything is made from them.

Belongs here: what is checked, and what a failure says. Does not belong here: the statistics (climate).

Statistics are computed from the stored result, in its Region: the store itself is checked, and a few numbers cross.

Cells without value: a result of which no value is finite is refused. Else they are reported, and refused where the analysis
declares a ``valid_range`` (every cell is to have a possible value), unless it declares ``masked`` or the field is on a
native grid, where land has none. Rows at the poles and the seam are looked at in global maps only.

Steps without data: what is missing is refused, unless the dataset is declared ``excerpt: true``; then it is reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import xarray as xr

from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.assets.reuse import source_months
from xdask_pipelines.assets.source import digest
from xdask_pipelines.catalog import Change, Entry
from xdask_pipelines.climate.axes import PARTITION
from xdask_pipelines.climate.means import is_partial
from xdask_pipelines.placement import Evidence
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.input_steps import InputSteps, input_steps, unit_of
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.result_figures import (
    checked_fields,
    covers_globe,
    field_figures,
    form_of,
    partial_figures,
)
from xdask_pipelines.resources.results import LAYOUT, Results, run_command
from xdask_pipelines.system.safe_text import markdown

NAMES = ("units", "value_range", "no_nan", "pole_rows", "no_seam", "complete")
#: A seam is a step across 0/360 E above this multiple of the largest step anywhere else.
_SEAM_RATIO = 1.5
_CLOSURE_KELVIN = 1e-5


@dataclass(frozen=True)
class Verdict:
    """Outcome of one check: None if it holds, else what is wrong; ``warn`` if that need not block; what is known anyway."""

    problem: str | None
    warn: bool = False
    note: str = ""


def checks_of(made: Analysis, analyses: Mapping[str, Analysis]) -> dg.AssetChecksDefinition:
    """All checks of one analysis, as one step that reads its result once.

    A result, or a partition of one, that fails is withdrawn from the catalog: nobody takes it for the current one.
    """
    specs = [dg.AssetCheckSpec(name, asset=made.name, blocking=True, description=_MEANING[name]) for name in NAMES]

    @dg.multi_asset_check(specs=specs, name=f"check_{made.name}", required_resource_keys={"results"})
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        results: Results = context.resources.results.results
        with explained():
            entries = _entries(results, made.name, context.run.run_id)
            verdicts, evidence, figures = _judge(made, analyses, results, entries, context.log.info)
            refused = {
                part for of_parts in verdicts.values() for part, v in of_parts.items() if v.problem and not v.warn
            }
            own = [e for e in entries if e.part in refused and e.attributes.get("run_id") == context.run.run_id]
            if own:
                results.catalog.commit(Change(removals=[e.id for e in own]))
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
                description=markdown(
                    _listed({part: str(v.problem) for part, v in bad.items()})
                    or _listed({part: v.note for part, v in verdicts[name].items() if v.note})
                    or _MEANING[name]
                ),
                metadata={
                    "statistics": dg.MetadataValue.json(figures),
                    **({"evidence": dg.MetadataValue.json(evidence.as_dict())} if name == NAMES[0] else {}),
                },
            )

    return check


_MEANING = {
    "units": "The result states its units, and they are those expected.",
    "value_range": "No value lies outside what is possible.",
    "no_nan": "Cells without value are none, or such that there are none by nature.",
    "pole_rows": "The rows of a global map nearest to both poles have values.",
    "no_seam": "No step of a global map across 0/360 degrees east stands out.",
    "complete": "No step of the inputs is missing, through all results that this was made from.",
}


def _listed(texts: Mapping[str, str]) -> str:
    return "; ".join(f"{part}: {text}" if part else text for part, text in texts.items())


def _entries(results: Results, asset: str, run_id: str) -> list[Entry]:
    """Entries that this run made, or if it made none, the current ones."""
    own = results.catalog.search(dataset=asset, layout=LAYOUT, run_id=run_id, superseded=True)
    newest = {e.part: e for e in sorted(own, key=lambda e: e.version)}
    return list(newest.values()) or results.find(asset, results.partitions(asset) or [""])


def _judge(
    made: Analysis, analyses: Mapping[str, Analysis], results: Results, entries: Sequence[Entry], tell: Any
) -> tuple[dict[str, dict[str, Verdict]], Evidence, dict[str, dict[str, float]]]:
    opened = {e.part: _result(results, e) for e in entries}
    fields = {part: checked_fields(result, made.preview) for part, result in opened.items()}
    lazy = {(part, name): field_figures(f) for part, of_part in fields.items() for name, f in of_part.items()}
    counts = {part: partial_figures(x) for part, x in opened.items() if isinstance(x, xr.Dataset) and is_partial(x)}
    found, evidence = results.pools.compute(*lazy.values(), *counts.values(), tell=tell)
    by_field = dict(zip(lazy, map(_floats, found[: len(lazy)]), strict=True))
    by_count = dict(zip(counts, map(_floats, found[len(lazy) :]), strict=True))
    verdicts: dict[str, dict[str, Verdict]] = {name: {} for name in NAMES}
    for entry in entries:
        part = entry.part
        each = {name: field_verdicts(made, field, by_field[part, name]) for name, field in fields[part].items()}
        for check in NAMES[:-1]:
            verdicts[check][part] = together({name: of_check[check] for name, of_check in each.items()})
        whole = complete_verdict(made, analyses, results, input_steps(results, entry, digest))
        counted = counted_verdict(made, entry, by_count[part]) if part in by_count else Verdict(None)
        verdicts["complete"][part] = together({"": whole, "count": counted})
    figures = {
        part: {f"{name}.{n}" if name else n: v for name in of_part for n, v in by_field[part, name].items()}
        | by_count.get(part, {})
        for part, of_part in fields.items()
    }
    return verdicts, evidence, figures


def _result(results: Results, entry: Entry) -> xr.DataArray | xr.Dataset:
    opened = results.open([entry])
    return opened.isel({PARTITION: 0}, drop=True) if PARTITION in opened.dims else opened


def _floats(figures: xr.Dataset) -> dict[str, float]:
    return {str(name): float(value) for name, value in figures.data_vars.items()}


def together(verdicts: Mapping[str, Verdict]) -> Verdict:
    """One verdict of several variables, naming those that have a problem."""
    bad = {name: v for name, v in verdicts.items() if v.problem}
    notes = "; ".join(v.note for v in verdicts.values() if v.note)
    if not bad:
        return Verdict(None, note=notes)
    text = " ".join(f"{name}: {v.problem}" if name else str(v.problem) for name, v in bad.items())
    return Verdict(text, warn=all(v.warn for v in bad.values()), note=notes)


def field_verdicts(made: Analysis, field: xr.DataArray, figures: Mapping[str, float]) -> dict[str, Verdict]:
    """Verdicts of the checks that look at one field and its figures, by name."""
    return {
        "units": units_verdict(made, field),
        "value_range": _value_range(made, figures),
        "no_nan": _no_nan(made, field, figures),
        **(_globe(made, figures) if covers_globe(field) else {"pole_rows": Verdict(None), "no_seam": Verdict(None)}),
    }


def units_verdict(made: Analysis, field: xr.DataArray) -> Verdict:
    """Whether a result, lazy or stored, states its units, and those that its analysis declares."""
    units = field.attrs.get("units")
    if not units:
        return Verdict(f"{made.name} has no units. Set result.attrs['units'] in its function.")
    if made.units and units != made.units:
        return Verdict(
            f"{made.name} is in {units!r}, not {made.units!r}. Convert it in its function, or correct the units of the "
            "source and run `xdask sync`."
        )
    return Verdict(None)


def _value_range(made: Analysis, figures: Mapping[str, float]) -> Verdict:
    if infinite := figures["size"] - figures["finite_count"] - figures["nan_count"]:
        return Verdict(
            f"{infinite:.0f} {_plural(infinite, 'value is', 'values are')} infinite. Look for a division by 0."
        )
    low, high = made.valid_range or (-np.inf, np.inf)
    if np.isnan(figures["minimum"]) or (low <= figures["minimum"] and figures["maximum"] <= high):
        return Verdict(None)
    return Verdict(
        f"Values from {figures['minimum']:.2f} to {figures['maximum']:.2f} leave {low:g} to {high:g}. Look at the "
        "picture for where, and at the units of the sources."
    )


def _no_nan(made: Analysis, field: xr.DataArray, figures: Mapping[str, float]) -> Verdict:
    missing, size = figures["nan_count"], figures["size"]
    if not missing:
        return Verdict(None)
    if missing == size:
        return Verdict(f"No value of {made.name} is finite. Look at the sources and at its function.")
    have = f"{missing:.0f} of {size:.0f} cells have no value"
    if made.valid_range and not made.masked and form_of(field) != "native map":
        return Verdict(
            f"{have}. Look at the picture for where: a file may lack cells, or a grid may not cover the globe. If the "
            "source has none there by nature, such as land in an ocean field, declare it: @analysis(masked=True, …)."
        )
    return Verdict(f"{have}.", warn=True)


def _globe(made: Analysis, figures: Mapping[str, float]) -> dict[str, Verdict]:
    bare = [pole for pole in ("south", "north") if not figures[f"{pole}_finite_count"]]
    seam = figures["seam_ratio"] > _SEAM_RATIO
    return {
        "pole_rows": Verdict(
            f"The row nearest to the {' and '.join(bare)} pole has no value. Look at the picture for where: a grid may not "
            "reach the pole. If there is none by nature, declare it: @analysis(masked=True, …)."
            if bare
            else None,
            warn=made.masked or not made.valid_range,
        ),
        "no_seam": Verdict(
            f"The step across 0/360 E is {figures['seam_step']:.2f}, the largest elsewhere "
            f"{figures['largest_step']:.2f}: a cyclic point is missing."
            if seam
            else None
        ),
    }


def complete_verdict(made: Analysis, analyses: Mapping[str, Analysis], results: Results, known: InputSteps) -> Verdict:
    """Whether no step of what a part was made from is missing, and no month upstream."""
    for name in (each for each in made.upstream if each in analyses):
        if missing := sorted(set(source_months(analyses[name], results.catalog)) - set(results.partitions(name))):
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            remedy = f"Materialize them, in the UI or with `{run_command(name, missing)}`, then {made.name} again."
            return Verdict(f"Months of {name} are not materialized: {shown}. {remedy}")
    if not known.gaps:
        return Verdict(None, note=str(known))
    if all(steps.excerpt for steps in known.gaps.values()):
        return Verdict(str(known), warn=True)
    return Verdict(f"{known} {_REMEDY}")


_REMEDY = (
    "Run `xdask sync` once the data are whole, or, if no more is to come, declare the dataset `excerpt: true` in "
    "regions.yaml and run `xdask sync`."
)


def counted_verdict(made: Analysis, entry: Entry, figures: Mapping[str, float]) -> Verdict:
    """Steps that are empty, and cells that are empty in some: files that are whole may hold them."""
    made_from = Provenance.of(entry)
    have, steps = int(figures["steps_with_data"]), made_from.time_steps
    units = {unit_of(each) for each in made_from.steps.values()}
    unit = units.pop() if len(units) == 1 else "steps"
    problems = []
    if steps is not None and have < steps:
        problems.append(f"{have} of {steps} {unit} have data")
    if uneven := int(figures["uneven_cells"]):
        instants = {"h": "hours", "days": "days"}.get(unit, "steps")
        problems.append(f"{uneven} {_plural(uneven, 'cell lacks', 'cells lack')} a value in some {instants}")
    if not problems:
        return Verdict(None)
    if made_from.excerpted or made.masked:
        return Verdict(f"{'; '.join(problems)}{' (excerpt)' if made_from.excerpted else ''}.", warn=True)
    return Verdict(f"{'; '.join(problems)}: values of the source are missing. {_REMEDY}")


def _plural(number: float, one: str, many: str) -> str:
    return one if number == 1 else many


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
        for name, version in Provenance.of(entry).upstream.items():
            used.setdefault(name, set()).add(version)
    return all(len(versions) == 1 for versions in used.values())
