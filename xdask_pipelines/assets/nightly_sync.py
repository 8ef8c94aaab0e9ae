"""The nightly sync: for each dataset and Region an asset that updates its mounts, and one that updates the catalog.

Belongs here: the two assets. Does not belong here: how a sync works (access), what it records (datasets).
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from xdask_pipelines.access.syncing.sync_place import SyncContext, import_mounts, plan_place, sync_place
from xdask_pipelines.assets.datasets import (
    GROUP,
    OPERATORS,
    catalog_key,
    imported,
    lustre_key,
    planned,
    region_tag,
    synced,
)
from xdask_pipelines.catalog import Catalog
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.mounts import LustreWith
from xdask_pipelines.resources.pools.standing_pools import Pools, borrowed_workers
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.place import Place

#: Nights are 24 h apart; a sync that began at midnight may take until morning, one missed night warns, two fail.
_FRESHNESS = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=32), fail_window=timedelta(hours=56))
_FEW = 1000  # quarantined files that a run logs


class SyncConfig(dg.Config):
    """How a sync is to be done, from the launchpad."""

    accept: str = Field("", description="Digest of a suspicious plan that you have looked at, as the refusal names it.")
    dry_run: bool = Field(False, description="Show the plan and change nothing.")


def dataset_assets(topology: Topology) -> list[dg.AssetsDefinition]:
    """Make a Lustre asset and a catalog asset for every dataset and Region of the topology."""
    return [make(topology, place) for place in topology.places for make in (_lustre_asset, _catalog_asset)]


def _lustre_asset(topology: Topology, place: Place) -> dg.AssetsDefinition:
    mounts = topology.mounts(*place)

    @dg.asset(
        key=lustre_key(*place),
        group_name=GROUP,
        description=f"Mounts of {place}, brought up to date with their buckets: "
        + ", ".join(f"{m.path} from {m.source or 'nowhere: a folder of its own'}" for m in mounts),
        kinds={"lustre"},
        owners=[OPERATORS],
        tags=_tags(place),
        pool=_slot(place),
        freshness_policy=_FRESHNESS,
        op_tags=_tags(place),
    )
    def lustre(
        context: dg.AssetExecutionContext,
        catalog: dg.ResourceParam[Catalog],
        pools: dg.ResourceParam[Pools],
        lustre: dg.ResourceParam[LustreWith],
    ) -> dg.MaterializeResult[Any]:
        with explained(), borrowed_workers(pools, [place.region], context.log.info) as compute:
            reports = import_mounts(
                SyncContext(
                    topology=topology, catalog=catalog, compute=compute, lustre=lustre(compute), tell=context.log.info
                ),
                place,
            )
        for report in reports:
            if report.failed:
                context.log.warning(
                    f"not imported from {report.mount}: {counted(report.failed, 'file')}: {report.detail}"
                )
        return dg.MaterializeResult(metadata=imported(place, reports).event.metadata)

    return lustre


def _catalog_asset(topology: Topology, place: Place) -> dg.AssetsDefinition:
    @dg.asset(
        key=catalog_key(*place),
        deps=[lustre_key(*place)],
        group_name=GROUP,
        description=f"Entries of {place.dataset} in the catalog, as its files are in {place.region}.",
        kinds={"catalog"},
        owners=[OPERATORS],
        tags=_tags(place),
        pool=_slot(place),
        freshness_policy=_FRESHNESS,
        op_tags=_tags(place),
        output_required=False,
    )
    def catalog_of(
        context: dg.AssetExecutionContext,
        config: SyncConfig,
        catalog: dg.ResourceParam[Catalog],
        pools: dg.ResourceParam[Pools],
        lustre: dg.ResourceParam[LustreWith],
    ) -> Iterator[dg.MaterializeResult[Any]]:
        tell = context.log.info
        with explained(), borrowed_workers(pools, [place.region], tell) as compute:
            sync = SyncContext(
                topology=topology,
                catalog=catalog,
                compute=compute,
                lustre=lustre(compute),
                accept=config.accept or None,
                tell=tell,
            )
            if config.dry_run:
                plan = plan_place(sync, place)
                tell("a dry run: nothing was changed, and nothing is materialized")
                context.log_event(planned(catalog, plan).event)
                return
            done = sync_place(sync, place)
        tell(", ".join(f"{n} {k}" for k, n in done.counts.items()))
        for bad in done.quarantined[:_FEW]:
            context.log.warning(one_line(f"not catalogued: {bad.key}: {bad.reason}"))
        for warning in done.warnings:
            context.log.warning(one_line(warning))
        yield dg.MaterializeResult(metadata=synced(done).event.metadata, data_version=dg.DataVersion(done.digest))

    return catalog_of


def _slot(place: Place) -> str:
    """Concurrency pool: it limits how many syncs share a Region's file system and workers at a time."""
    return f"sync-{place.region}"


def _tags(place: Place) -> Mapping[str, str]:
    return {"xdask/dataset": place.dataset, **region_tag([place.region])}
