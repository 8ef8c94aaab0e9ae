"""The asset that keeps the results stores of all Regions free of what no catalog entry names.

Belongs here: nightly upkeep of results. Does not belong here: upkeep of datasets (datasets), how stores are found (access).
"""

from typing import Any

import dagster as dg

from xdask_pipelines.access import call_at_home
from xdask_pipelines.access.garbage import Collected, collect, collect_at_home
from xdask_pipelines.assets.datasets import GROUP, OPERATORS, region_tag
from xdask_pipelines.placement.worker.guard import RESULTS_PREFIX
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.pools.standing_pools import Tell, borrowed_workers
from xdask_pipelines.resources.results import LAYOUT, Results
from xdask_pipelines.topology import Topology

#: A run that writes nothing into its store for so long is taken to be gone.
GRACE_SECONDS = 24 * 3600.0


def collect_results(
    results: Results, tell: Tell = lambda line: None, grace_seconds: float = GRACE_SECONDS
) -> dict[str, Collected]:
    """Remove stores that failed runs left behind, in every Region.

    Parameters
    ----------
    results
        Whose stores.
    tell
        Gets a line if workers are started for it: pools at zero are not started.
    grace_seconds
        Stores in which something was written since are left alone.

    Returns
    -------
    What was found and removed, by Region.
    """
    topology, named = results.topology, {r: set[str]() for r in results.topology.regions}
    for entry in results.catalog.search(layout=LAYOUT, superseded=True):
        named[entry.region].add(entry.key)
    found = {}
    for region in topology.worker_regions:
        call = call_at_home("collect", region, collect_at_home, frozenset(named[region]), grace_seconds)
        with borrowed_workers(results.pools, [region], tell) as compute:
            ((found[region],), _) = compute(call)
    own = topology.client.region
    return {**found, own: collect(topology.results_folder(own) / RESULTS_PREFIX, named[own], grace_seconds)}


def results_asset(topology: Topology) -> dg.AssetsDefinition:
    """The asset of the results stores of all Regions of a topology."""

    @dg.asset(
        group_name=GROUP,
        description="Stores of results in every Region; a day after its last write, one that no entry names is removed.",
        required_resource_keys={"results"},
        kinds={"zarr"},
        owners=[OPERATORS],
        tags=region_tag(topology.regions),
    )
    def results_stores(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        """Named and removed stores by Region."""
        with explained():
            found = collect_results(context.resources.results.results, context.log.info)
        for region, seen in found.items():
            for key in seen.removed:
                context.log.info(f"removed {region}:{key}")
        return dg.MaterializeResult(
            metadata={
                "named": sum(seen.named for seen in found.values()),
                "removed": sum(len(seen.removed) for seen in found.values()),
                "removed_bytes": sum(seen.removed_bytes for seen in found.values()),
                "too_young": sum(seen.young for seen in found.values()),
            }
        )

    return results_stores
