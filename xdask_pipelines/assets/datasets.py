"""Per dataset and Region: the asset that keeps its Lustre mounts true, and the asset that keeps the catalog true.

Belongs here: the nightly sync as assets. Does not belong here: how a sync works (access), analyses.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from xdask_pipelines.access.syncing.sync_place import Synced, plan_place, sync_place
from xdask_pipelines.catalog import Catalog
from xdask_pipelines.catalog.sync import SyncPlan
from xdask_pipelines.lustre.imports import ImportReport
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.lending import lent
from xdask_pipelines.resources.mounts import LustreWith
from xdask_pipelines.resources.standing_pools import Pools
from xdask_pipelines.system.safe_text import markdown, one_line
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology

#: What a sync leaves in Dagster's history.
Event = dg.AssetMaterialization | dg.AssetObservation

GROUP = "datasets"
#: Owner of what keeps datasets and results in order.
OPERATORS = "team:operators"
REGION_TAG = "xdask/region"
_LONGEST_TAG = 63  # characters that Dagster takes
#: Nights are 24 h apart; a sync that began at midnight may take until morning, one missed night is told, two are bad.
_FRESHNESS = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=32), fail_window=timedelta(hours=56))
_DATA_VERSION = "dagster/data_version"  # tag of a materialization that no run yields
_FEW = 1000  # rows of a table in the UI; more make its page slow


class SyncConfig(dg.Config):
    """How a sync is to be done, from the launchpad."""

    accept: str = Field("", description="Digest of a suspicious plan that you have looked at, as the refusal names it.")
    dry_run: bool = Field(False, description="Show the plan and change nothing.")


def lustre_key(dataset: str, region: str) -> dg.AssetKey:
    """Key of the asset that keeps a dataset's mounts in a Region true.

    It has one part, which says all: nodes of Dagster's graph show the last part of a key.
    """
    return dg.AssetKey(f"{dataset}_lustre_{region}")


def catalog_key(dataset: str, region: str) -> dg.AssetKey:
    """Key of the asset that keeps the catalog's entries of a dataset in a Region true."""
    return dg.AssetKey(f"{dataset}_catalog_{region}")


def dataset_assets(topology: Topology) -> list[dg.AssetsDefinition]:
    """A Lustre asset and a catalog asset for every dataset and Region of the topology."""
    return [make(topology, *place) for place in topology.places for make in (_lustre_asset, _catalog_asset)]


def _lustre_asset(topology: Topology, name: str, region: str) -> dg.AssetsDefinition:
    mounts = topology.mounts(name, region)

    @dg.asset(
        key=lustre_key(name, region),
        group_name=GROUP,
        description=f"Mounts of {name} in {region}, brought up to date with their buckets: "
        + ", ".join(f"{m.path} from {m.source or 'nowhere: a folder of its own'}" for m in mounts),
        kinds={"lustre"},
        owners=[OPERATORS],
        tags=_tags(name, region),
        pool=_slot(region),
        freshness_policy=_FRESHNESS,
        op_tags=_tags(name, region),
    )
    def lustre(
        context: dg.AssetExecutionContext, lustre: dg.ResourceParam[LustreWith], pools: dg.ResourceParam[Pools]
    ) -> dg.MaterializeResult[Any]:
        with explained(), lent(pools, [region], context.log.info) as compute:
            reports = [lustre(compute).import_changes(mount, context.log.info) for mount in mounts]
        for report in reports:
            if report.failed:
                context.log.warning(
                    f"not imported from {report.mount}: {counted(report.failed, 'file')}: {report.detail}"
                )
        return dg.MaterializeResult(metadata=imported(name, region, reports).metadata)

    return lustre


def _catalog_asset(topology: Topology, name: str, region: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=catalog_key(name, region),
        deps=[lustre_key(name, region)],
        group_name=GROUP,
        description=f"Entries of {name} in the catalog, as its files are in {region}.",
        kinds={"catalog"},
        owners=[OPERATORS],
        tags=_tags(name, region),
        pool=_slot(region),
        freshness_policy=_FRESHNESS,
        op_tags=_tags(name, region),
        output_required=False,
    )
    def catalog_of(
        context: dg.AssetExecutionContext,
        config: SyncConfig,
        catalog: dg.ResourceParam[Catalog],
        pools: dg.ResourceParam[Pools],
        lustre: dg.ResourceParam[LustreWith],
    ) -> Iterator[dg.MaterializeResult[Any]]:
        with explained(), lent(pools, [region], context.log.info) as compute:
            accept = config.accept or None
            if config.dry_run:
                place = plan_place(topology, catalog, compute, name, region, accept=accept)
                context.log.info("a dry run: nothing was changed, and nothing is materialized")
                context.log_event(planned(place.plan))
                return
            tell = context.log.info
            done = sync_place(topology, catalog, compute, lustre(compute), name, region, accept=accept, tell=tell)
        context.log.info(", ".join(f"{n} {k}" for k, n in done.counts.items()))
        for bad in done.quarantined[:_FEW]:
            context.log.warning(one_line(f"not catalogued: {bad.key}: {bad.reason}"))
        for warning in done.warnings:
            context.log.warning(one_line(warning))
        yield dg.MaterializeResult(metadata=synced(catalog, done).metadata, data_version=dg.DataVersion(done.digest))

    return catalog_of


# ---- what a sync leaves in Dagster's history, whether an asset or a command ran it ------------------------------------


def imported(name: str, region: str, reports: Sequence[ImportReport]) -> dg.AssetMaterialization:
    """The materialization of a dataset's mounts in a Region, which these imports brought up to date."""
    return dg.AssetMaterialization(
        lustre_key(name, region),
        metadata={
            "state": ", ".join(f"{r.mount} {r.state}" for r in reports),
            "files": sum(r.files for r in reports),
            "failed": sum(r.failed for r in reports),
            "detail": "; ".join(r.detail for r in reports if r.detail) or "none",
        },
    )


def synced(catalog: Catalog, done: Synced) -> dg.AssetMaterialization:
    """The materialization of a dataset's entries in a Region; its data version is the state of the mount."""
    return dg.AssetMaterialization(
        catalog_key(done.dataset, done.region),
        metadata=_metadata(catalog, done),
        tags={_DATA_VERSION: done.digest},
    )


def planned(plan: SyncPlan) -> dg.AssetObservation:
    """The observation of a dry run: nothing was changed."""
    return dg.AssetObservation(catalog_key(plan.dataset, plan.region), metadata=_plan_metadata(plan))


def _metadata(catalog: Catalog, done: Synced) -> dict[str, Any]:
    return {
        **done.counts,
        "entries": catalog.count(dataset=done.dataset, region=done.region, superseded=True) if done.objects else 0,
        "generation": done.generation,
        "as_of": done.as_of.isoformat() if done.as_of else "listed now",
        "quarantine": _quarantine(done.quarantined),
        "warnings": dg.MetadataValue.md("\n".join(f"- {markdown(w)}" for w in done.warnings) or "none"),
        "bytes_read_by_region": dg.MetadataValue.json(dict(done.evidence.bytes_read_by_region)),
        "bytes_across": dg.MetadataValue.json(done.evidence.as_dict()["bytes_across"]),
    }


def _plan_metadata(plan: SyncPlan) -> dict[str, Any]:
    return {
        **plan.summary(),
        "digest": plan.digest,
        "added_keys": dg.MetadataValue.json([e.key for e in plan.added[:_FEW]]),
        "changed_keys": dg.MetadataValue.json([e.key for e in plan.changed[:_FEW]]),
        "quarantine": _quarantine(plan.quarantined),
    }


def _quarantine(quarantined: Any) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({"key": q.key, "reason": q.reason}) for q in quarantined[:_FEW]],
        dg.TableSchema([dg.TableColumn("key"), dg.TableColumn("reason")]),
    )


def _slot(region: str) -> str:
    """Concurrency pool: so many syncs at a time share a Region's file system and workers."""
    return f"sync-{region}"


def _tags(name: str, region: str) -> Mapping[str, str]:
    return {"xdask/dataset": name, **region_tag([region])}


def region_tag(regions: Collection[str]) -> dict[str, str]:
    """Asset tag that names the Regions whose data an asset is made of."""
    joined = "_".join(sorted(regions))
    return {REGION_TAG: joined if len(joined) <= _LONGEST_TAG else "several"} if regions else {}
