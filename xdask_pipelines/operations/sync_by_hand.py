"""Syncs by hand: the same sync as the nightly assets', recorded as they are; and forgetting what is no longer synced.

Belongs here: running syncs with or without standing pools. Does not belong here: what a sync does (access).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.access.syncing.sync_place import Synced, plan_place, sync_place
from xdask_pipelines.assets.datasets import imported, planned, synced
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.catalog.sync import SyncPlan
from xdask_pipelines.errors import CatalogError, SuspiciousPlan, TopologyError, XdaskError
from xdask_pipelines.lustre import LustreFileSystem, Residency
from xdask_pipelines.operations.sync_history import Record, recording
from xdask_pipelines.resources.lending import lent
from xdask_pipelines.resources.mounts import lustre_of
from xdask_pipelines.resources.pools import pools_of
from xdask_pipelines.resources.results import LAYOUT
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology


def sync_datasets(
    topology: Topology,
    names: Sequence[str] = (),
    *,
    accept: str | None = None,
    full: bool = False,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Sync datasets in all their Regions; all datasets if none is named.

    Each sync is recorded in Dagster's history as a materialization of its assets, a dry run as an observation. With
    ``full`` all headers are read, and all entries written again.

    Returns
    -------
    One document for each dataset and Region: counts, quarantined keys with reasons, generation; or, where the sync was
    refused or failed, ``error`` and ``message``, and for a refused dry run also what the sync would do. One place's failure
    does not keep others from being synced.

    Raises
    ------
    TopologyError
        If a name is not a dataset.
    """
    unknown = sorted(set(names) - set(topology.dataset_names))
    if unknown:
        raise TopologyError(f"No such dataset: {', '.join(unknown)}. There are {', '.join(topology.dataset_names)}.")
    places = [(name, region) for name, region in topology.places if not names or name in names]
    catalog, pools = open_catalog(topology.catalog_url), pools_of(topology)
    if full and not dry_run:
        _repair(catalog, tell)
    done = []
    try:
        with recording(topology, tell) as record, lent(pools, sorted({r for _, r in places}), tell) as compute:
            lustre = lustre_of(topology)(compute)
            for name, region in places:
                try:
                    if dry_run:
                        done.append(_planned(topology, catalog, compute, name, region, accept, full, record))
                    else:
                        _import(topology, lustre, name, region, tell, record)
                        found = sync_place(
                            *(topology, catalog, compute, lustre, name, region), accept=accept, full=full, tell=tell
                        )
                        done.append(_recorded(catalog, found, record))
                except XdaskError as error:  # of this place alone: others need not wait for its fix
                    refused = _listed(catalog, error.plan) if dry_run and isinstance(error, SuspiciousPlan) else {}
                    message = {"error": type(error).__name__, "message": str(error)}
                    done.append({"dataset": name, "region": region, **message, **refused})
                    tell(f"{name} in {region}: failed")
                else:
                    tell(f"{name} in {region}: {'planned' if dry_run else 'synced'}")
    finally:
        pools.close()
    return done


def _repair(catalog: Catalog, tell: Callable[[str], None]) -> None:
    lost = catalog.repair()
    for (dataset, region), number in sorted(lost.items()):
        where = f"of {dataset} in {region}" if dataset else "of datasets or Regions that are not known any more"
        tell(f"the catalog was damaged, and is repaired: {counted(number, 'entry', 'entries')} {where} lost")
    if lost:
        tell(
            "entries of files are made again now, if all datasets are synced; results that are lost are computed again"
        )


def _import(
    topology: Topology, lustre: LustreFileSystem, name: str, region: str, tell: Callable[[str], None], record: Record
) -> None:
    """Bring the mounts of a dataset up to date with their buckets, where there are any."""
    if lustre.imports:
        mounts = topology.mounts(name, region)
        record(imported(name, region, [lustre.import_changes(mount, tell) for mount in mounts]))


def _recorded(catalog: Catalog, done: Synced, record: Record) -> dict[str, Any]:
    record(synced(catalog, done))
    return {
        "dataset": done.dataset,
        "region": done.region,
        "counts": dict(done.counts),
        "quarantined": {q.key: q.reason for q in done.quarantined},
        "warnings": list(done.warnings),
        "generation": done.generation,
        "as_of": done.as_of.isoformat() if done.as_of else None,
    }


def _planned(
    topology: Topology,
    catalog: Catalog,
    compute: Compute,
    name: str,
    region: str,
    accept: str | None,
    full: bool,
    record: Record,
) -> dict[str, Any]:
    plan = plan_place(topology, catalog, compute, name, region, accept=accept, full=full).plan
    record(planned(plan))
    return _listed(catalog, plan)


def _listed(catalog: Catalog, plan: SyncPlan) -> dict[str, Any]:
    """What a plan would do, with the keys of entries."""
    name, region = plan.dataset, plan.region
    its = {e.id: e.key for e in catalog.search(dataset=name, region=region, superseded=True)} if plan.removed else {}
    return {
        "dataset": name,
        "region": region,
        "counts": plan.summary(),
        "quarantined": {q.key: q.reason for q in plan.quarantined},
        "plan": plan.digest,
        "added": [e.key for e in plan.added],
        "changed": [e.key for e in plan.changed],
        "removed": sorted(its[identity] for identity in plan.removed),
    }


def residency_of(
    topology: Topology, query: Mapping[str, Any], *, warm: bool = False, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Residency]:
    """What of a selection is on the mounts, by Region, and what is in the buckets only.

    Parameters
    ----------
    topology
        Where everything is.
    query
        As `Catalog.search` takes it.
    warm
        Fetch what is not on the mounts, and wait for it; what is given back is what was there before.
    tell
        Is told of progress.

    Raises
    ------
    CatalogError
        Nothing matches.
    """
    found = open_catalog(topology.catalog_url).search(**query)
    keys: dict[str, list[str]] = {}
    for entry in found:
        if entry.layout != LAYOUT and entry.region in topology.worker_regions:
            keys.setdefault(entry.region, []).append(entry.key)
    if not keys:
        raise CatalogError("No files of datasets match. Look with `xdask catalog search` and the same filters.")
    pools = pools_of(topology)
    try:
        with lent(pools, sorted(keys), tell) as compute:
            lustre = lustre_of(topology)(compute)
            if warm:
                return {region: lustre.warm(region, wanted, tell) for region, wanted in sorted(keys.items())}
            return {region: lustre.residency(region, wanted) for region, wanted in sorted(keys.items())}
    finally:
        pools.close()


def unnamed_places(topology: Topology, catalog: Catalog) -> dict[tuple[str, str], int]:
    """Entries by (dataset, Region) that no sync keeps true: the topology does not name the place (any more)."""
    named = {(n, r) for n in topology.dataset_names for r, _ in topology.datasets(n)}
    layouts = [layout for layout in catalog.facets("layout", superseded=True)["layout"] if layout != LAYOUT]
    datasets = catalog.facets("dataset", layout=layouts, superseded=True)["dataset"] if layouts else ()
    counts = {d: catalog.facets("region", dataset=d, layout=layouts, superseded=True)["region"] for d in datasets}
    return {(d, r): n for d, by_region in counts.items() for r, n in by_region.items() if (d, r) not in named}


def forget_dataset(topology: Topology, name: str) -> dict[str, int]:
    """Remove a dataset's entries from the catalog, in all Regions in which the topology does not name it.

    Returns
    -------
    Entries removed, by Region. Files are left alone.

    Raises
    ------
    CatalogError
        If there are no such entries.
    """
    catalog = open_catalog(topology.catalog_url)
    places = unnamed_places(topology, catalog)
    gone = {region: count for (dataset, region), count in places.items() if dataset == name}
    if not gone:
        others = sorted({dataset for dataset, _ in places})
        raise CatalogError(
            f"The catalog holds nothing of {name} that regions.yaml does not name."
            + (f" Of these it does: {', '.join(others)}." if others else "")
            + (" Take the dataset out of regions.yaml first." if name in topology.dataset_names else "")
        )
    for region in gone:
        base = catalog.manifest(name, region)
        catalog.commit(
            Change(
                removals=list(base.digests),
                dataset=name,
                region=region,
                manifest=ManifestChange(drop=[o.key for o in base.objects]),
                base_generation=base.generation,
                expected_entries=0,
            )
        )
    return gone
