"""The demo: sync the catalog, run the assets of the main job that are not up to date, and report the results.

Belongs here: the steps, and the report. Does not belong here: printing (cli), running assets (project).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import dagster as dg

from xdask_pipelines.assets.analysis import analyses_of
from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.assets.datasets import catalog_key, lustre_key
from xdask_pipelines.assets.reuse import Due, due
from xdask_pipelines.assets.temperature import JOB
from xdask_pipelines.build import build_definitions, lacking
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.partition_batches import batches
from xdask_pipelines.operations.project import instance, passed_checks, run_assets
from xdask_pipelines.placement import Evidence
from xdask_pipelines.resources.pools.standing_pools import Pools
from xdask_pipelines.resources.results import Results
from xdask_pipelines.schedules import SYNC_JOB
from xdask_pipelines.system.files import write_atomically
from xdask_pipelines.topology import Topology

MAIN = "temperature_difference"
PREDICTED = "cmip6_predicted_tas_regridded"
Tell = Callable[[str], None]


def refuse_other_projects(topology: Topology) -> None:
    """Refuse a project without the datasets of the main job.

    Raises
    ------
    XdaskError
        If a dataset is missing.
    """
    if missing := lacking(topology):
        raise XdaskError(
            f"This project has no dataset {' and no dataset '.join(missing)}, which the demo needs. Create a project "
            "with the sample data: `xdask init FOLDER --sample`, and run `xdask demo` in its folder."
        )


def configs_of(topology: Topology, preset: str | None, experiment: str | None) -> dict[str, dict[str, Any]]:
    """Return the config values of the main job: those of a preset, or of one scenario of the sample.

    Raises
    ------
    XdaskError
        There is no such preset, or it has values for an asset that the main job does not have.
    """
    if preset is None:
        return {PREDICTED: {"experiment_id": experiment or "A1B"}}
    if preset not in topology.presets:
        there = ", ".join(topology.presets) or "none"
        raise XdaskError(f"There is no preset {preset!r} in regions.yaml. Available: {there}.")
    return {name: dict(values) for name, values in topology.presets[preset].items()}


def run_demo(
    topology: Topology,
    pools: Pools,
    configs: Mapping[str, Mapping[str, Any]],
    tell: Tell = lambda line: None,
    *,
    sync: bool = True,
) -> dict[str, Any]:
    """Update the catalog, and compute the assets of the main job that are not up to date.

    Parameters
    ----------
    topology, pools
        The project, and its pools, which must be running.
    configs
        Config values by asset (`configs_of`).
    tell
        Called with a line for each step.
    sync
        Whether the catalog is updated first.

    Returns
    -------
    The report, which is also written to ``var/demo/report.json``. Tasks and bytes are those of `MAIN` with all its
    ancestors; ``assets`` has each asset's own.
    """
    started = perf_counter()
    warnings: list[str] = []
    with instance(topology) as history:
        if sync:
            warnings += _sync(topology, pools, history, tell)
        definitions = build_definitions(topology, {"pools": pools})
        results = definitions.resources["results"].results  # type: ignore[index]
        analyses = in_order(definitions, (MAIN, "model_bias", "climate_signal"))
        _refuse_unknown(configs, analyses)
        plan = due(
            analyses,
            results.catalog,
            results,
            configs,
            sound=lambda name: passed_checks(history, name),
        )
        evidence: dict[str, Evidence] = {}
        for names, months in _runs(plan, analyses):
            tell("computing " + ", ".join(names) + (f" for {_range(months)}" if months else ""))
            job = "" if months else JOB
            done = run_assets(topology, pools, history, names, configs=configs, partitions=months, job_name=job)
            warnings += done.warnings
            for name in names:
                made = Evidence.from_dict(done.metadata[name]["evidence"])
                evidence[name] = Evidence.total([evidence[name], made]) if name in evidence else made
        report = _report(topology, results, analyses, plan, evidence, history)
    experiment = {a.name: a for a in analyses}[PREDICTED].config(configs.get(PREDICTED))
    report |= {
        "experiment_id": getattr(experiment, "experiment_id", ""),
        "warnings": warnings,
        "seconds": round(perf_counter() - started, 2),
    }
    folder = topology.var / "demo"
    write_atomically(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def _sync(topology: Topology, pools: Pools, history: dg.DagsterInstance, tell: Tell) -> list[str]:
    """Update the catalog, and return warnings of files that it does not have."""
    warnings: list[str] = []
    upkeep = [make(*place).to_user_string() for place in topology.places for make in (lustre_key, catalog_key)]
    synced = run_assets(topology, pools, history, upkeep, job_name=SYNC_JOB)
    for name, region in topology.places:
        counts = synced.metadata[catalog_key(name, region).to_user_string()]
        tell(f"catalog: {name} in {region}: " + ", ".join(f"{counts[k]} {k}" for k in _SAID))
        for bad in counts["quarantine"].records:
            warnings.append(f"not catalogued, of {name}: {bad.data['key']}: {bad.data['reason']}")
    return warnings


def _refuse_unknown(configs: Mapping[str, Mapping[str, Any]], analyses: Sequence[Analysis]) -> None:
    if unknown := sorted(set(configs) - {made.name for made in analyses}):
        raise XdaskError(
            f"The preset has values for {', '.join(unknown)}, which the main job does not have. It has "
            f"{', '.join(made.name for made in analyses if made.config_name)}; correct regions.yaml."
        )


_SAID = ("added", "changed", "removed", "unchanged")


def in_order(definitions: dg.Definitions, names: Sequence[str]) -> list[Analysis]:
    """Return analyses and all their ancestors, ancestors first."""
    analyses = analyses_of(definitions.resolve_all_asset_specs())
    order: list[Analysis] = []

    def visit(name: str) -> None:
        if name in analyses and analyses[name] not in order:
            for upstream in analyses[name].upstream:
                visit(upstream)
            order.append(analyses[name])

    for name in names:
        visit(name)
    return order


def _ancestors(analyses: list[Analysis], name: str) -> set[str]:
    by_name = {a.name: a for a in analyses}
    return {name}.union(*(_ancestors(analyses, u) for u in by_name[name].upstream))


def _runs(plan: list[Due], analyses: list[Analysis]) -> list[tuple[list[str], list[str]]]:
    """Return runs in order: consecutive months of each partitioned asset, then all assets without partitions."""
    partition_keys = {a.name: a.partitions_def.get_partition_keys() for a in analyses if a.partitions_def}
    runs = [
        ([d.name], stretch)
        for d in plan
        if d.name in partition_keys
        for stretch in batches(partition_keys[d.name], d.run)
    ]
    rest = [d.name for d in plan if d.run and d.name not in partition_keys]
    return [*runs, (rest, [])] if rest else runs


def _range(months: Sequence[str]) -> str:
    return months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"


def _report(
    topology: Topology,
    results: Results,
    analyses: list[Analysis],
    plan: list[Due],
    evidence: Mapping[str, Evidence],
    history: dg.DagsterInstance,
) -> dict[str, Any]:
    latest = {a.name: _latest(history, a.name) for a in analyses}
    statistics = {a.name: results.open(results.find(a.name)) for a in analyses if a.name in (MAIN,)}
    total = Evidence.total([e for name, e in evidence.items() if name in _ancestors(analyses, MAIN)])
    return {
        "mean_difference_K": latest[MAIN]["area_weighted_mean"],
        "climate_signal_K": latest["climate_signal"]["area_weighted_mean"],
        "model_bias_K": latest["model_bias"]["area_weighted_mean"],
        "nan_cells": int(statistics[MAIN].isnull().sum()),
        **{k: v for k, v in total.as_dict().items() if k != "seconds"},
        "reused_assets": [d.name + (f"[{', '.join(d.reuse)}]" if d.reuse != ("",) else "") for d in plan if d.reuse],
        "ran_assets": [d.name for d in plan if d.run],
        "map": str(latest[MAIN].get("picture_file", "could not be written")),
        "excerpt": latest[MAIN].get("excerpt", ""),
        "store": latest[MAIN]["store"],
        "digest": latest[MAIN]["digest"],
        "assets": {name: e.as_dict() for name, e in evidence.items()},
    }


def _latest(history: dg.DagsterInstance, name: str) -> dict[str, Any]:
    event = history.get_latest_materialization_event(dg.AssetKey(name))
    made = event.asset_materialization if event else None
    return {k: v.value for k, v in made.metadata.items()} if made else {}
