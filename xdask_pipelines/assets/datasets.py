"""Per dataset: the asset that keeps its Lustre mount true, and the asset that keeps the catalog true.

Belongs here: nightly upkeep as assets. Does not belong here: how a sync works (access), analyses.
"""

import hashlib
from typing import Any

import dagster as dg

from xdask_pipelines.access.sync import Synced, sync
from xdask_pipelines.catalog import Catalog
from xdask_pipelines.lustre import Lustre
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.pools import Pools
from xdask_pipelines.topology import Topology

GROUP = "datasets"


def dataset_assets(topology: Topology) -> list[dg.AssetsDefinition]:
    """A Lustre asset and a catalog asset for every dataset of the topology."""
    return [make(topology, name) for name in topology.dataset_names for make in (_lustre_asset, _catalog_asset)]


def _regions(topology: Topology, name: str) -> list[str]:
    return list(dict.fromkeys(region for region, _ in topology.datasets(name)))


def _lustre_asset(topology: Topology, name: str) -> dg.AssetsDefinition:
    where = ", ".join(_regions(topology, name))

    @dg.asset(
        name=f"{name}_lustre",
        group_name=GROUP,
        description=f"Lustre mounts of {name} in {where}, brought up to date with their buckets.",
        kinds={"lustre"},
    )
    def lustre(context: dg.AssetExecutionContext, lustre: dg.ResourceParam[Lustre]) -> dg.MaterializeResult[Any]:
        with explained():
            reports = [
                lustre.import_changes(region, mount.mount, mount.source, context.log.info)
                for region, mount in topology.datasets(name)
            ]
        return dg.MaterializeResult(
            metadata={
                "state": ", ".join(f"{r.region}:{r.mount} {r.state}" for r in reports),
                "files": sum(r.files for r in reports),
                "bytes": sum(r.size_bytes for r in reports),
            },
            data_version=dg.DataVersion(_digest([r.digest for r in reports])),
        )

    return lustre


def _catalog_asset(topology: Topology, name: str) -> dg.AssetsDefinition:
    regions = _regions(topology, name)

    @dg.asset(
        name=f"{name}_catalog",
        deps=[f"{name}_lustre"],
        group_name=GROUP,
        description=f"Entries of {name} in the catalog, as its files are in {', '.join(regions)}.",
        kinds={"catalog"},
    )
    def catalog_of(
        context: dg.AssetExecutionContext, catalog: dg.ResourceParam[Catalog], pools: dg.ResourceParam[Pools]
    ) -> dg.MaterializeResult[Any]:
        with explained():
            done = [sync(topology, catalog, pools.compute, name, region) for region in regions]
        synced = [s for s in done if isinstance(s, Synced)]
        for s in synced:
            context.log.info(f"{name} in {s.region}: " + ", ".join(f"{n} {k}" for k, n in s.counts.items()))
            for bad in s.quarantined:
                context.log.warning(f"not catalogued: {bad.key}: {bad.reason}")
        return dg.MaterializeResult(
            metadata={
                "counts": dg.MetadataValue.json({s.region: dict(s.counts) for s in synced}),
                "entries": catalog.count(dataset=name) if synced else 0,
                "generation": max(s.generation for s in synced),
                "quarantined": dg.MetadataValue.table(
                    [dg.TableRecord({"key": q.key, "reason": q.reason}) for s in synced for q in s.quarantined],
                    dg.TableSchema([dg.TableColumn("key"), dg.TableColumn("reason")]),
                ),
                "bytes_read_by_region": dg.MetadataValue.json(
                    {s.region: sum(s.evidence.bytes_read_by_region.values()) for s in synced}
                ),
            },
            data_version=dg.DataVersion(_digest([s.digest for s in synced])),
        )

    return catalog_of


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
