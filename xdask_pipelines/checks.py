"""Blocking checks of results: downstream assets are computed only from results that pass.

Belongs here: running the checks as Dagster asset checks. Does not belong here: what they examine (verdicts), the
statistics (climate).

Statistics are computed from the stored result in its Region: this checks the store itself, and sends only a few numbers
across.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import xarray as xr

from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.assets.source import digest
from xdask_pipelines.catalog import Change, Entry
from xdask_pipelines.climate.partials import is_partial
from xdask_pipelines.placement import Evidence
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.input_steps import input_steps
from xdask_pipelines.resources.parts import only
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.reporting.result_report import write_report
from xdask_pipelines.resources.result_figures import (
    checked_fields,
    field_figures,
    partial_figures,
)
from xdask_pipelines.resources.results import LAYOUT, Results
from xdask_pipelines.system.safe_text import markdown
from xdask_pipelines.verdicts import Verdict, complete_verdict, counted_verdict, field_verdicts, together

NAMES = ("units", "value_range", "no_nan", "pole_rows", "no_seam", "complete")
_CLOSURE_KELVIN = 1e-5


def checks_of(made: Analysis, analyses: Mapping[str, Analysis]) -> dg.AssetChecksDefinition:
    """Return all checks of one analysis, as one step that reads its result once.

    A result or partition that fails is withdrawn from the catalog, so that it is never used as the current one.
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
                context.log.warning(f"withdrawn: {named} of this run; the previous result stays current")
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
        passed = [entry for entry in entries if entry.part not in refused]
        if passed and results.topology.reports:
            _report(context, results, made, passed)

    return check


def _report(context: dg.AssetCheckExecutionContext, results: Results, made: Analysis, entries: Sequence[Entry]) -> None:
    """Write the reports of results that passed; the run goes on without those that cannot be written."""
    for entry in entries:
        try:
            address = write_report(
                results.topology, results.catalog, context.instance, entry, made.function.__doc__ or ""
            )
            context.log.info(f"report: {address}")
        except Exception as error:  # the result is stored and checked: a page about it must not fail the run
            context.log.warning(f"The report of {made.name} was not written. {type(error).__name__}: {error}")


_MEANING = {
    "units": "The result has units, and they are the expected ones.",
    "value_range": "No value is outside the valid range.",
    "no_nan": "All cells have values, except where the source has none by nature.",
    "pole_rows": "The rows of a global map nearest to both poles have values.",
    "no_seam": "A global map has no seam at 0/360 degrees east.",
    "complete": "No time step of the inputs is missing, including all upstream results.",
}


def _listed(texts: Mapping[str, str]) -> str:
    return "; ".join(f"{part}: {text}" if part else text for part, text in texts.items())


def _entries(results: Results, asset: str, run_id: str) -> list[Entry]:
    """Return the entries that this run wrote, or the current ones if it wrote none."""
    own = results.catalog.search(dataset=asset, layout=LAYOUT, run_id=run_id, superseded=True)
    newest = {e.part: e for e in sorted(own, key=lambda e: e.version)}
    return list(newest.values()) or results.find(asset, results.partitions(asset) or [""])


def _judge(
    made: Analysis, analyses: Mapping[str, Analysis], results: Results, entries: Sequence[Entry], tell: Any
) -> tuple[dict[str, dict[str, Verdict]], Evidence, dict[str, dict[str, float]]]:
    opened = {e.part: _result(results, e) for e in entries}
    fields = {part: checked_fields(result, made.preview) for part, result in opened.items()}
    lazy = {
        (part, name): field_figures(f, made.gaps) for part, of_part in fields.items() for name, f in of_part.items()
    }
    counts = {part: partial_figures(x) for part, x in opened.items() if isinstance(x, xr.Dataset) and is_partial(x)}
    results_in_memory, evidence = results.pools.compute(*lazy.values(), *counts.values(), tell=tell)
    by_field = dict(zip(lazy, map(_floats, results_in_memory[: len(lazy)]), strict=True))
    by_count = dict(zip(counts, map(_floats, results_in_memory[len(lazy) :]), strict=True))
    verdicts: dict[str, dict[str, Verdict]] = {name: {} for name in NAMES}
    for entry in entries:
        part = entry.part
        each = {name: field_verdicts(made, field, by_field[part, name]) for name, field in fields[part].items()}
        for check in NAMES[:-1]:
            verdicts[check][part] = together({name: of_check[check] for name, of_check in each.items()})
        whole = complete_verdict(
            made, analyses, results, input_steps(results, entry, digest), Provenance.of(entry).config
        )
        counted = counted_verdict(made, entry, by_count[part]) if part in by_count else Verdict(None)
        verdicts["complete"][part] = together({"": whole, "count": counted})
    figures = {
        part: {f"{name}.{n}" if name else n: v for name in of_part for n, v in by_field[part, name].items()}
        | by_count.get(part, {})
        for part, of_part in fields.items()
    }
    return verdicts, evidence, figures


def _result(results: Results, entry: Entry) -> xr.DataArray | xr.Dataset:
    return only(results.open([entry]))


def _floats(figures: xr.Dataset) -> dict[str, float]:
    return {str(name): float(value) for name, value in figures.data_vars.items()}


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
                    description="The three results were computed from different inputs. Materialize all three in one run.",
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
    """Return whether all results used the same version of each shared upstream result."""
    used: dict[str, set[str]] = {}
    for entry in entries.values():
        for name, version in Provenance.of(entry).upstream.items():
            used.setdefault(name, set()).add(version)
    return all(len(versions) == 1 for versions in used.values())
