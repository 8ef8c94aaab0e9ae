"""Verdicts on results: what the checks examine, and their messages.

Belongs here: one function for each check. Does not belong here: running the checks (checks), the statistics (climate).

Cells without value: a result without any finite value is refused. Otherwise such cells are reported; they are refused
if the analysis declares ``gaps="none"``, or a ``valid_range`` without ``gaps`` (every cell must have a possible value),
unless the field is on a native grid, where land has no values. With a region as ``gaps``, cells outside it must have
values. Rows at the poles and the seam are checked only in global maps.

Missing steps: they are refused, unless the dataset is declared ``excerpt: true``; then they are reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.assets.reuse import source_months
from xdask_pipelines.catalog import Entry
from xdask_pipelines.resources.input_steps import InputSteps, unit_of
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.result_figures import (
    covers_globe,
    form_of,
)
from xdask_pipelines.resources.results import Results, run_command

#: A step across 0/360 E above this multiple of the largest step elsewhere is a seam.
_SEAM_RATIO = 1.5


@dataclass(frozen=True)
class Verdict:
    """Outcome of one check: the problem or None, ``warn`` if the problem does not block, and further information."""

    problem: str | None
    warn: bool = False
    note: str = ""


def together(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Combine the verdicts of several variables, with the names of those that have a problem."""
    bad = {name: v for name, v in verdicts.items() if v.problem}
    notes = "; ".join(v.note for v in verdicts.values() if v.note)
    if not bad:
        return Verdict(None, note=notes)
    text = " ".join(f"{name}: {v.problem}" if name else str(v.problem) for name, v in bad.items())
    return Verdict(text, warn=all(v.warn for v in bad.values()), note=notes)


def field_verdicts(made: Analysis, field: xr.DataArray, figures: Mapping[str, float]) -> dict[str, Verdict]:
    """Return the verdicts of the checks of one field and its statistics, by name."""
    return {
        "units": units_verdict(made, field),
        "value_range": _value_range(made, figures),
        "no_nan": _no_nan(made, field, figures),
        **(_globe(made, figures) if covers_globe(field) else {"pole_rows": Verdict(None), "no_seam": Verdict(None)}),
    }


def units_verdict(made: Analysis, field: xr.DataArray) -> Verdict:
    """Check that a result, lazy or stored, has the units that its analysis declares."""
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
        f"Values from {figures['minimum']:.2f} to {figures['maximum']:.2f} are outside {low:g} to {high:g}. Look at the "
        "picture for their location, and check the units of the sources."
    )


def _no_nan(made: Analysis, field: xr.DataArray, figures: Mapping[str, float]) -> Verdict:
    missing, size = figures["nan_count"], figures["size"]
    if not missing:
        return Verdict(None)
    if missing == size:
        return Verdict(f"No value of {made.name} is finite. Check the sources and its function.")
    have = f"{missing:.0f} of {size:.0f} cells have no value"
    declare = '`@analysis(gaps="allowed")`, or `gaps` with the region where they are, such as `gaps="land"`'
    if outside := figures.get("unexpected_nan_count", 0.0):
        return Verdict(
            f"{have}, and {outside:.0f} of them lie outside {made.gaps!r}, where all should have one. Look at the picture "
            "for their location: a file may lack cells, or a grid may not cover the globe."
        )
    if made.gaps == "none" or (made.gaps is None and made.valid_range and form_of(field) != "native map"):
        return Verdict(
            f"{have}. Look at the picture for their location: a file may lack cells, or a grid may not cover the globe. "
            f"If the source has no values there by nature, such as land in an ocean field, declare it: {declare}."
        )
    return Verdict(f"{have}.", warn=True)


def _may_lack(made: Analysis) -> bool:
    """Return whether an analysis says that some cells have no value by nature."""
    return made.gaps not in (None, "none")


def _globe(made: Analysis, figures: Mapping[str, float]) -> dict[str, Verdict]:
    bare = [pole for pole in ("south", "north") if not figures[f"{pole}_finite_count"]]
    seam = figures["seam_ratio"] > _SEAM_RATIO
    return {
        "pole_rows": Verdict(
            f"The row nearest to the {' and '.join(bare)} pole has no value. Look at the picture: the grid may not "
            'reach the pole. If the source has no values there by nature, declare it: `@analysis(gaps="allowed")`.'
            if bare
            else None,
            warn=_may_lack(made) or (made.gaps is None and not made.valid_range),
        ),
        "no_seam": Verdict(
            f"The step across 0/360 E is {figures['seam_step']:.2f}, the largest elsewhere "
            f"{figures['largest_step']:.2f}: a cyclic point is missing."
            if seam
            else None
        ),
    }


def complete_verdict(
    made: Analysis, analyses: Mapping[str, Analysis], results: Results, known: InputSteps, config: Mapping[str, Any]
) -> Verdict:
    """Check that no time step of the inputs of a result and no upstream month that its config asks for is missing."""
    for name in (each for each in made.upstream if each in analyses):
        asked = made.months_of(name, made.config(config))
        there = set(source_months(analyses[name], results.catalog))
        if missing := asked.of(there - set(results.partitions(name))):
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            remedy = f"Materialize them, in the UI or with `{run_command(name, missing)}`, then {made.name} again."
            return Verdict(f"These months of {name} are not materialized: {shown}. {remedy}")
    if not known.gaps:
        return Verdict(None, note=str(known))
    if all(steps.excerpt for steps in known.gaps.values()):
        return Verdict(str(known), warn=True)
    return Verdict(f"{known} {_REMEDY}")


_REMEDY = (
    "Run `xdask sync` when the data are complete; or, if they stay incomplete, declare the dataset `excerpt: true` in "
    "regions.yaml and run `xdask sync`."
)


def counted_verdict(made: Analysis, entry: Entry, figures: Mapping[str, float]) -> Verdict:
    """Check for steps without data and cells without data in some steps, which complete files may contain."""
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
    if made_from.excerpted or _may_lack(made):
        return Verdict(f"{'; '.join(problems)}{' (excerpt)' if made_from.excerpted else ''}.", warn=True)
    return Verdict(f"{'; '.join(problems)}: values of the source are missing. {_REMEDY}")


def _plural(number: float, one: str, many: str) -> str:
    return one if number == 1 else many
