"""An analysis before Dagster: a function of xarray objects, what it reads, and calling it lazily.

Belongs here: everything about one that needs neither a run nor a pool. Does not belong here: making an asset of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg
import xarray as xr

from xdask_pipelines.access.completeness import Steps, steps_of
from xdask_pipelines.assets.config_values import typed_config
from xdask_pipelines.assets.month_ranges import MonthRange
from xdask_pipelines.assets.replicas import choose
from xdask_pipelines.assets.source import Found, Source, digest
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.input_steps import input_name
from xdask_pipelines.resources.io_manager import Result, entries_of
from xdask_pipelines.resources.parts import along_keys, calendars_of, chosen, dated, named, only, parts_for
from xdask_pipelines.resources.provenance import Provenance, UsedEntry, inherited
from xdask_pipelines.system.packages import deciding_versions
from xdask_pipelines.system.recorded_steps import recorded
from xdask_pipelines.topology import Topology

#: Of stores of results: with a new number, all results are computed again.
_FORM = 2


@dataclass(frozen=True)
class Analysis:
    """An analysis before Dagster: its function, what it reads, what it follows from."""

    name: str
    function: Callable[..., Any]
    sources: Mapping[str, Source]
    upstream: tuple[str, ...]
    config_type: type[dg.Config] | None
    config_name: str
    code_version: str
    partitions_def: dg.PartitionsDefinition[str] | None
    group_name: str
    owners: tuple[str, ...]
    preview: Callable[[Any], xr.DataArray]
    units: str | None
    valid_range: tuple[float, float] | None
    gaps: str | None
    caveat: str
    months: Mapping[str, Callable[[Any], MonthRange]] = field(default_factory=dict)

    @property
    def partitioned(self) -> bool:
        """Whether it is made partition by partition."""
        return self.partitions_def is not None

    @property
    def partition_facet(self) -> str:
        """Return what the keys of partitions are, if they are no periods: the facet that a source gets them for."""
        facets = {source.partition for source in self.sources.values() if source.partition != "time"}
        return facets.pop() if len(facets) == 1 else "key"

    def config(self, values: Mapping[str, Any] | None) -> Any:
        """Typed config from a run's values.

        Raises
        ------
        XdaskError
            If a key is unknown or missing, or a value does not fit its type; see :func:`.config_values.typed_config`.
        """
        return typed_config(self.name, self.config_type, values or {})

    def months_of(self, upstream: str, config: Any) -> MonthRange:
        """Return the months of an upstream result that the function gets."""
        return self.months[upstream](config) if upstream in self.months else MonthRange()

    def found(self, catalog: Catalog, config: Any, partition: str) -> dict[str, Found]:
        """Return the entries that one partition reads, by parameter, each in every Region that holds it."""
        return {name: source.resolve(catalog, config, partition) for name, source in self.sources.items()}

    def version(
        self,
        config: Any,
        found: Mapping[str, Found],
        upstream: Mapping[str, Mapping[str, str]],
        partition: str,
    ) -> str:
        """Data version: digest of the code, the config, the sources' digests and the versions of upstream results.

        ``upstream`` gives each upstream result's versions by partition; of those a partition uses only its own.
        """
        used = {
            name: {
                key: versions[key]
                for key in parts_for(partition, list(versions))
                if name not in self.months or key in self.months_of(name, config)
            }
            for name, versions in upstream.items()
        }
        return digest(
            {
                "code": self.code_version,
                "config": config.model_dump() if config else None,
                "form": _FORM,
                "sources": {name: self.sources[name].version(each) for name, each in found.items()},
                "upstream": used,
            }
        )


def run(
    made: Analysis,
    topology: Topology,
    catalog: Catalog,
    values: Mapping[str, Any] | None,
    keys: Sequence[str],
    inputs: Mapping[str, Any],
) -> Result:
    """Call the function for every partition key; everything stays lazy.

    Parameters
    ----------
    made
        The analysis.
    topology, catalog
        Resolve its sources; what several Regions hold is read, for all keys, where least is shipped.
    values
        Config of the run.
    keys
        Partition keys; ``[""]`` without partitions.
    inputs
        Lazy upstream results, by parameter.

    Raises
    ------
    XdaskError
        The function returned what is no xarray object.
    """
    config = made.config(values)
    inputs = {name: _asked_months(made, config, name, x) for name, x in inputs.items()}
    upstream = {n: {e.part: e.attributes["data_version"] for e in entries_of(x)} for n, x in inputs.items()}
    results = {e.id: e for x in inputs.values() for e in entries_of(x)}
    found = {key: made.found(catalog, config, key) for key in keys}
    unread = {name for name, source in made.sources.items() if source.grid}
    groups = {n: [replicas for k in keys for replicas in found[k][n].groups] for n in made.sources}
    choice = choose(topology, groups, results.values(), unread)
    parts, versions, provenance, used = {}, {}, {}, dict(results)
    parts_of = {name: [entry.part for entry in entries_of(x)] for name, x in inputs.items()}
    for key in keys:
        entries = {name: [choice.of(replicas) for replicas in each.groups] for name, each in found[key].items()}
        arguments = {name: made.sources[name].open(each, choice.of) for name, each in found[key].items()}
        own = {name: parts_for(key, there) for name, there in parts_of.items()}
        for name, x in inputs.items():
            some = chosen(x, parts_of[name], own[name])
            arguments[name] = only(some) if own[name] == [key] else along_keys(some)
        if made.config_name:
            arguments[made.config_name] = config
        with recorded() as processing:
            part = made.function(**arguments)
        if not isinstance(part, xr.DataArray | xr.Dataset):
            raise XdaskError(
                f"{made.name} returned {type(part).__name__}, and a result is an xarray.DataArray or xarray.Dataset. "
                "Return one; a number is xr.DataArray(number, attrs={'units': …})."
            )
        parts[key] = named(dated(part, key, calendars_of(arguments.values())), key, made.partition_facet)
        versions[key] = made.version(config, found[key], upstream, key)
        used |= {e.id: e for each in entries.values() for e in each}
        before = [e for name, x in inputs.items() for e in entries_of(x) if e.part in own[name]]
        areas = {choice.of(replicas).id for each in found[key].values() for replicas in each.area_groups}
        one = _provenance(made, key, entries, before, parts[key].attrs.get("time_steps"), areas)
        provenance[key] = replace(one, processing=tuple(processing))
    shared: dict[str, Any] = {
        "code_version": made.code_version,
        "packages": deciding_versions(),
        "config": config.model_dump() if config else {},
        "replicas": choice.said,
        "upstream": {name: digest(of_parts) for name, of_parts in upstream.items()},
    }
    return Result(
        parts=parts,
        versions=versions,
        provenance={key: replace(one, **shared) for key, one in provenance.items()},
        sources=tuple(used.values()),
        caveat=made.caveat,
        preview=made.preview,
    )


def _asked_months(made: Analysis, config: Any, name: str, x: Any) -> Any:
    """Return an upstream result, cut to the months that the config asks for."""
    entries = entries_of(x)
    if name not in made.months or all(not entry.part for entry in entries):
        return x
    asked, months = made.months_of(name, config), [entry.part for entry in entries]
    asked.refuse_gaps(name, months)
    cut = chosen(x, months, asked.of(months))
    cut.encoding["entries"] = tuple(entry for entry in entries if entry.part in asked)
    return cut


def _provenance(
    made: Analysis,
    key: str,
    entries: Mapping[str, Sequence[Entry]],
    results: Sequence[Entry],
    time_steps: Any,
    areas: Collection[str],
) -> Provenance:
    """What one part is made from: its own files, and results with what they were made from.

    Areas of cells, by their ids, have no time, and may be those of another experiment with the same grid.
    """
    every = [entry for each in entries.values() for entry in each]
    excerpts, experiments, attributions = inherited([*results, *every])
    steps: dict[str, Steps] = {}
    uncounted: list[str] = []
    excerpted = False
    read = [
        entry
        for name, each in entries.items()
        if not made.sources[name].grid
        for entry in each
        if entry.id not in areas
    ]
    for entry in read:
        if "experiment_id" in entry.facets:
            experiments.add(entry.facets["experiment_id"])
        excerpted |= entry.excerpt
        if counted := steps_of(entry):
            name = input_name(entry, key)
            steps[name if name not in steps else f"{name} ({entry.key})"] = counted
            if counted.excerpt and not counted.complete:
                excerpts.add(str(counted))
        else:
            uncounted.append(input_name(entry, key))
    return Provenance(
        sources=tuple(UsedEntry.of(entry) for entry in [*results, *every]),
        steps=steps,
        uncounted=tuple(sorted(uncounted)),
        time_steps=None if time_steps is None else int(time_steps),
        excerpted=excerpted,
        excerpts=tuple(sorted(excerpts)),
        experiments=tuple(sorted(experiments)),
        attributions=tuple(sorted(attributions)),
    )
