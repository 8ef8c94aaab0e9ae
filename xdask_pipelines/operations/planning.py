"""The plan of an asset: predicted tasks and bytes by Region.

Belongs here: building the lazy graph of an asset. Does not belong here: the prediction (placement.prediction.plan).
"""

from __future__ import annotations

import sysconfig
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xdask_pipelines.assets.analysis import analyses_of
from xdask_pipelines.assets.analysis_definition import Analysis, run
from xdask_pipelines.assets.reuse import source_months
from xdask_pipelines.assets.source import digest
from xdask_pipelines.build import assemble
from xdask_pipelines.catalog import Entry
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.project import partition_range
from xdask_pipelines.placement import Plan, plan
from xdask_pipelines.resources.input_steps import InputSteps, input_steps, joined_steps
from xdask_pipelines.resources.io_manager import Result
from xdask_pipelines.resources.mounts import LustreWith
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.resources.result_figures import checked_fields
from xdask_pipelines.resources.results import LAYOUT, Label, Results
from xdask_pipelines.system.units import counted, format_bytes
from xdask_pipelines.topology import Topology
from xdask_pipelines.verdicts import complete_verdict, units_verdict


def plan_asset(
    topology: Topology, name: str, partitions: Sequence[str] = (), config: Mapping[str, Any] | None = None
) -> Plan:
    """Predict the tasks, reads and transfers of one asset. Nothing runs, and no pool is needed.

    Parameters
    ----------
    topology
        The project.
    name
        Name of an asset that was defined with `analysis`.
    partitions
        Partition keys of a partitioned asset, first and last; if empty, all with source data.
    config
        Config values.

    Raises
    ------
    XdaskError
        If the analysis or partition does not exist, a config value is not valid, or the checks would refuse the result.
    MissingEntries
        If inputs are missing.
    """
    assembly = assemble(topology)
    definitions = assembly.definitions
    analyses = analyses_of(definitions.resolve_all_asset_specs())
    assembly.refuse_unknown([name])
    if name not in analyses:
        listed = ", ".join(sorted(analyses))
        raise XdaskError(f"{name} is not an analysis, so it has no plan. Available: {listed}.")
    made = analyses[name]
    results: Results = (definitions.resources or {})["results"].results
    made.config(config)
    asked = partition_range(definitions, name, partitions) if partitions else source_months(made, results.catalog)
    keys = list(asked) if made.partitioned else [""]
    inputs = {}
    for upstream in made.upstream:
        available = results.partitions(upstream)
        if not available and upstream in analyses and analyses[upstream].partitioned:  # reported as missing
            available = source_months(analyses[upstream], results.catalog)
        inputs[upstream] = results.open(
            results.find(upstream, (keys if made.partitioned else available) if available else [""])
        )
    try:
        result = run(made, topology, results.catalog, config, keys, inputs)
        warnings = _foreseen(made, analyses, results, result)
        prepared = results.prepare(Label(name, "plan"), result.parts, result.preview)
    except XdaskError:
        raise
    except Exception as error:  # from the user's own function
        frames = traceback.extract_tb(error.__traceback__)
        libraries = sysconfig.get_path("purelib")
        place = [f for f in frames if not f.filename.startswith(libraries)][-1]  # this file's own frame is always there
        raise XdaskError(f"{name}: {type(error).__name__}: {error} ({place.filename}, line {place.lineno})") from error
    made_plan = plan(*prepared.lazy, settings=pools_of(topology).settings())
    lustre: LustreWith = (definitions.resources or {})["lustre"]
    return replace(made_plan, warnings=(*made_plan.warnings, *warnings, *_to_fetch(topology, lustre, result.sources)))


def _foreseen(made: Analysis, analyses: Mapping[str, Analysis], results: Results, result: Result) -> list[str]:
    """What the checks of the results will say, as far as lazy attributes and headers tell; values are not known yet.

    Raises
    ------
    XdaskError
        If the checks would refuse every part.
    """
    refused, problems = 0, []
    before = [e for e in result.sources if e.layout == LAYOUT]
    for part, value in result.parts.items():
        made_from = result.provenance[part]
        own = InputSteps(made_from.steps, made_from.uncounted)
        known = joined_steps(
            [own, *(input_steps(results, e, digest) for e in before if e.part in ("", part) or not part)]
        )
        units = [units_verdict(made, f) for f in checked_fields(value, made.preview).values()]
        verdicts = [*units, complete_verdict(made, analyses, results, known, made_from.config)]
        refused += any(v.problem and not v.warn for v in verdicts)
        problems += [f"{part}: {v.problem}" if part else str(v.problem) for v in verdicts if v.problem]
    if refused == len(result.parts):
        raise XdaskError(
            f"A run of {made.name} would compute, and its checks would refuse the result: {' '.join(problems)}"
        )
    return problems


def _to_fetch(topology: Topology, lustre: LustreWith, entries: Iterable[Entry]) -> Iterator[str]:
    """Iterate over warnings about inputs that are only in a bucket, and would be fetched file by file while tasks wait."""
    pools = pools_of(topology)
    file_systems = lustre(pools.compute)
    workers = pools.status().workers if file_systems.imports else {}  # a plan starts none
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.layout != LAYOUT and workers.get(entry.region):
            keys[entry.region].append(entry.key)
    try:
        for region, wanted in sorted(keys.items()):
            left = file_systems.residency(region, wanted)
            if left.released_files:
                size = f"{format_bytes(left.released_bytes)} of {counted(left.released_files, 'file')}"
                yield (
                    f"{size} in {region} are in the bucket only; `xdask lustre warm` fetches a selection before it is read"
                )
    finally:
        pools.close()
