"""The one assembly: a topology becomes Dagster definitions.

Belongs here: putting parts together. Does not belong here: any part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from xdask_pipelines.assets import datasets, published, temperature, upkeep
from xdask_pipelines.assets.analysis import analysis_of, following
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.checks import checks_of, closure_check
from xdask_pipelines.own import own_assets
from xdask_pipelines.partitions import months_of
from xdask_pipelines.resources.io_manager import ResultsIOManager
from xdask_pipelines.resources.mounts import lustre_of
from xdask_pipelines.resources.pools import Pools
from xdask_pipelines.resources.results import Results
from xdask_pipelines.schedules import nightly_sync
from xdask_pipelines.sensors import NewMonths, failed_syncs, new_months
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
    pools = given.get("pools") or Pools(topology)
    return {
        "topology": topology,
        "catalog": catalog,
        "pools": pools,
        "lustre": given.get("lustre") or lustre_of(topology),
        "results": given.get("results") or ResultsIOManager(Results(topology, catalog, pools)),
    }


def build_definitions(
    topology: Topology, overrides: Mapping[str, Any] | None = None, extra_assets: Sequence[dg.AssetsDefinition] = ()
) -> dg.Definitions:
    """Everything that the UI shows.

    Parameters
    ----------
    topology
        Where everything is.
    overrides
        Resources to use instead of the topology's own, by name.
    extra_assets
        Further assets, beside those of the folder ``analyses``.
    """
    resources = build_resources(topology, overrides)
    made = [
        *temperature.temperature_assets(months_of(resources["catalog"], "era5")),
        *own_assets(topology.root),
        *extra_assets,
    ]
    analyses = [each for asset in made if (each := analysis_of(asset))]
    condition = NewMonths(resources["catalog"])
    return dg.Definitions(
        assets=[
            *datasets.dataset_assets(topology),
            published.published_asset(topology),
            upkeep.results_stores,
            *(following(each, topology, condition if each.partitioned else None) for each in analyses),
            *(asset for asset in made if analysis_of(asset) is None),
        ],
        asset_checks=[*map(checks_of, analyses), closure_check()],
        resources=resources,
        schedules=[nightly_sync(datasets.GROUP)],
        sensors=[new_months(analyses), failed_syncs(topology)],
        executor=dg.in_process_executor,
    )
