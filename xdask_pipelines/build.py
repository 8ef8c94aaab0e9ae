"""The one assembly: a topology becomes Dagster definitions.

Belongs here: putting parts together. Does not belong here: any part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from xdask_pipelines.assets import climate_analyses, datasets, published, temperature, upkeep
from xdask_pipelines.assets.analysis import analyses_of, analysis_of, following
from xdask_pipelines.assets.climate_config import DATASET
from xdask_pipelines.assets.nightly_sync import dataset_assets
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.checks import checks_of, closure_check
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.own_analyses.analysis_files import OwnAssets, meant, own_assets
from xdask_pipelines.own_analyses.loadable import set_aside_unloadable
from xdask_pipelines.partitions import months_of, partitions_of_a_run
from xdask_pipelines.resources.io_manager import ResultsIOManager
from xdask_pipelines.resources.mounts import lustre_of
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.resources.results import Results
from xdask_pipelines.schedules import nightly_sync
from xdask_pipelines.sensors import NewMonths, failed_syncs, first_sync, new_months, pool_controller
from xdask_pipelines.system.safe_text import markdown
from xdask_pipelines.topology import Topology


def build_resources(topology: Topology, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Resources of a local run: ``topology``, ``catalog``, ``pools``, ``lustre``, ``results``; overrides come first.

    Parameters
    ----------
    topology
        Where everything is.
    overrides
        Parts to use instead, by name; parts made from them follow.
    """
    given = dict(overrides or {})
    unknown = sorted(set(given) - {"catalog", "pools", "lustre", "results"})
    if unknown:
        raise dg.DagsterInvalidDefinitionError(f"no such resource to override: {', '.join(unknown)}")
    catalog = given.get("catalog") or open_catalog(topology.catalog_url)
    pools = given.get("pools") or pools_of(topology)
    return {
        "topology": topology,
        "catalog": catalog,
        "pools": pools,
        "lustre": given.get("lustre") or lustre_of(topology),
        "results": given.get("results") or ResultsIOManager(Results(topology, catalog, pools)),
    }


@dataclass(frozen=True)
class Assembly:
    """What a topology becomes.

    Attributes
    ----------
    definitions
        Everything that the UI shows.
    own
        Assets of the folder ``analyses``, and what is broken among them: that is not in ``definitions``.
    """

    definitions: dg.Definitions
    own: OwnAssets

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Refuse names of assets that are not there, with the reason where they are broken.

        Raises
        ------
        XdaskError
            There is no such asset.
        """
        there = {key.to_user_string() for key in self.definitions.resolve_all_asset_keys()}
        for name in names:
            if name in there:
                continue
            if broken := self.own.reason_of(name):
                raise XdaskError(f"{broken}. Fix the file, then try again; `xdask doctor` lists all broken files.")
            files = ", ".join(dict.fromkeys(str(each.file) for each in self.own.broken))
            raise XdaskError(
                f"There is no asset {name}"
                + (meant(name, there) or f". There are {', '.join(sorted(there))}.")
                + (f" These files are broken: {files}; `xdask doctor` says why." if files else "")
            )


def build_definitions(
    topology: Topology, overrides: Mapping[str, Any] | None = None, extra_assets: Sequence[dg.AssetsDefinition] = ()
) -> dg.Definitions:
    """Everything that the UI shows; see :func:`assemble`."""
    return assemble(topology, overrides, extra_assets).definitions


def assemble(
    topology: Topology, overrides: Mapping[str, Any] | None = None, extra_assets: Sequence[dg.AssetsDefinition] = ()
) -> Assembly:
    """Put everything together; a broken file of ``analyses`` is left out, and named.

    Parameters
    ----------
    topology
        Where everything is.
    overrides
        Resources to use instead of the topology's own, by name.
    extra_assets
        Further assets, in addition to those of the folder ``analyses``.
    """
    resources = build_resources(topology, overrides)
    built = [*_main_job(topology, resources["catalog"]), *_climate(topology), *extra_assets]

    def definitions(own: OwnAssets) -> dg.Definitions:
        return _definitions(topology, resources, built, own)

    taken = set(definitions(OwnAssets()).resolve_all_asset_keys())
    own = own_assets(topology.root, taken)
    if own.assets:
        set_aside_unloadable(own, {key.to_user_string() for key in taken}, definitions)
    return Assembly(definitions(own), own)


def _main_job(topology: Topology, catalog: Catalog) -> list[dg.AssetsDefinition]:
    return [] if lacking(topology) else temperature.temperature_assets(months_of(catalog, "era5"))


def _climate(topology: Topology) -> list[dg.AssetsDefinition]:
    if DATASET not in topology.dataset_names:
        return []
    return climate_analyses.climate_assets(with_era5=not lacking(topology))


def _jobs(topology: Topology) -> list[Any]:
    presets = [temperature.temperature_job(name, configs) for name, configs in topology.presets.items()]
    return [temperature.temperature_job(), *presets]


def lacking(topology: Topology) -> list[str]:
    """Datasets of the main job, the temperature difference, that a project does not have: it has no such assets then."""
    return sorted(temperature.DATASETS - set(topology.dataset_names))


def _definitions(
    topology: Topology, resources: Mapping[str, Any], made: Sequence[dg.AssetsDefinition], own: OwnAssets
) -> dg.Definitions:
    given = [*made, *own.assets]
    analyses, catalog = analyses_of(given), resources["catalog"]
    in_a_run = partitions_of_a_run(pools_of(topology).settings())  # those of a caller need not know any
    broken = "\n".join(f"- {markdown(str(each))}" for each in own.broken)
    return dg.Definitions(
        assets=[
            *dataset_assets(topology),
            published.published_asset(topology),
            upkeep.results_asset(topology),
            *(
                following(each, topology, analyses, NewMonths(each, catalog) if each.partitioned else None, in_a_run)
                for each in analyses.values()
            ),
            *(asset for asset in given if analysis_of(asset) is None),
        ],
        asset_checks=[
            *(checks_of(each, analyses) for each in analyses.values()),
            *([] if lacking(topology) else [closure_check()]),
        ],
        resources=resources,
        jobs=[] if lacking(topology) else _jobs(topology),
        schedules=[nightly_sync(datasets.GROUP)],
        sensors=[
            new_months(analyses.values()),
            failed_syncs(topology),
            *pool_controller(topology),
            *first_sync(topology),
        ],
        executor=dg.in_process_executor,
        metadata={"broken_analyses": dg.MetadataValue.md(broken)} if broken else None,
    )
