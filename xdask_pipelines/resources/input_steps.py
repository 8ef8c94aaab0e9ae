"""Time steps of the inputs of a result, including those of upstream results.

Belongs here: following the provenance of entries, and describing it in sentences. Does not belong here: counting steps
of a file (access.completeness), the consequences of gaps (checks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from xdask_pipelines.access.completeness import Steps
from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.times import time_text
from xdask_pipelines.errors import MissingEntries
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.results import Results

_SHOWN = 3


@dataclass(frozen=True)
class InputSteps:
    """The known time steps of a result's inputs.

    Attributes
    ----------
    counted
        Steps by input, such as ``"era5 2026-03"``.
    uncounted
        Inputs whose expected number of steps is unknown.
    changed
        Upstream results that have been recomputed since, so their steps are unknown.
    """

    counted: Mapping[str, Steps] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def gaps(self) -> dict[str, Steps]:
        """Return the inputs with missing steps."""
        return {name: steps for name, steps in self.counted.items() if not steps.complete}

    def __str__(self) -> str:
        """Describe the steps in sentences; only counted inputs are called complete."""
        sentences = [_listed([in_words(name, steps) for name, steps in self.gaps.items()], ";")] if self.gaps else []
        whole = [steps for steps in self.counted.values() if steps.complete]
        if whole:
            total = sum(steps.found for steps in whole)
            units = {unit_of(steps) for steps in whole}
            unit = units.pop() if len(units) == 1 else "steps"
            names = _listed([name for name, steps in self.counted.items() if steps.complete], ",")
            one = f"The one {unit.removesuffix('s')} of {names} has data"
            sentences.append(one if total == 1 else f"All {total:,} {unit} of {names} have data")
        if self.uncounted:
            sentences.append(
                f"The expected number of steps of {_listed(list(self.uncounted), ',')} is unknown; all existing steps "
                "were used"
            )
        if self.changed:
            sentences.append(f"{', '.join(self.changed)} changed since; materialize this again to count its inputs")
        return ". ".join(sentences) + "." if sentences else "No input has time steps to count."


def in_words(name: str, steps: Steps) -> str:
    """``era5: 24 of 744 h of 2026-03 have data (excerpt)``."""
    dataset, _, period = name.partition(" ")
    of_period = f" of {period}" if period else ""
    note = " (excerpt)" if steps.excerpt else ""
    return f"{dataset}: {steps.found} of {steps.expected} {unit_of(steps)}{of_period} have data{note}"


def input_name(entry: Entry, partition: str = "") -> str:
    """Return dataset and period of an input: year and month of its facets, else the partition, else its times."""
    facets = entry.facets
    if "year" in facets:
        period = facets["year"] + (f"-{int(facets['month']):02}" if facets.get("month", "").isdigit() else "")
    elif partition:
        period = partition
    elif entry.time_start is not None and entry.time_end is not None:
        period = f"{time_text(entry.time_start)} until before {time_text(entry.time_end)}"
    else:
        period = ""
    return f"{entry.dataset} {period}".strip()


def input_steps(results: Results, entry: Entry, digest: Callable[[object], str]) -> InputSteps:
    """Collect the steps of all files that a result was computed from, directly or through other results.

    Parameters
    ----------
    results
        The results store, in which upstream results are found: those of the same run, else the current ones.
    entry
        The result.
    digest
        Returns the version of an upstream result from the data versions of its parts.
    """
    counted: dict[str, Steps] = {}
    uncounted: set[str] = set()
    changed: set[str] = set()
    seen: set[str] = set()

    def visit(at: Entry) -> None:
        if at.id in seen:
            return
        seen.add(at.id)
        made_from = Provenance.of(at)
        counted.update(made_from.steps)
        uncounted.update(made_from.uncounted)
        for name, version in made_from.upstream.items():
            parts = list(_parts(results, name, at))
            versions = {e.part: e.attributes.get("data_version") for e in parts}
            if not parts or (digest(versions) != version and not _is_one_of_many(at, parts)):
                changed.add(name)
            for each in parts:
                visit(each)

    visit(entry)
    return InputSteps(counted, tuple(sorted(uncounted)), tuple(sorted(changed)))


def joined_steps(found: Iterable[InputSteps]) -> InputSteps:
    """Combine the steps of several inputs."""
    every = list(found)
    return InputSteps(
        {name: steps for each in every for name, steps in each.counted.items()},
        tuple(sorted({name for each in every for name in each.uncounted})),
        tuple(sorted({name for each in every for name in each.changed})),
    )


def _parts(results: Results, name: str, entry: Entry) -> Iterator[Entry]:
    """Iterate over the entries of an upstream result: that of the same partition, else all."""
    partitions = results.partitions(name)
    wanted = [entry.part] if entry.part in partitions else partitions or [""]
    try:
        yield from results.find(name, wanted, entry.attributes.get("run_id"))
    except MissingEntries:
        return


def _is_one_of_many(entry: Entry, found: list[Entry]) -> bool:
    """Return whether an entry's version covers several partitions, so that it does not identify a single one."""
    return bool(entry.part) and [e.part for e in found] == [entry.part]


def unit_of(steps: Steps) -> str:
    """Return the unit in which steps are counted."""
    return str(getattr(steps, "unit", "h"))


def _listed(items: list[str], separator: str) -> str:
    more = f"{separator} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{separator} ".join(items[:_SHOWN]) + more
