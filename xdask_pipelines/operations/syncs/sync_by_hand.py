"""Syncs by hand: the same sync as the nightly assets', and recorded as they are.

Belongs here: choosing datasets, opening what their syncs work with, and collecting the outcomes. Does not belong here: what
a sync does (access), what it records (assets.datasets).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from xdask_pipelines.access.syncing.sync_place import (
    SyncContext,
    import_mounts,
    plan_place,
    repair_catalog,
    sync_place,
)
from xdask_pipelines.assets.datasets import failed, imported, planned, synced
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.errors import TopologyError, XdaskError
from xdask_pipelines.operations.syncs.sync_history import Record, recording
from xdask_pipelines.resources.mounts import lustre_of
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.resources.pools.standing_pools import borrowed_workers
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.place import Place


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
        raise TopologyError(f"No such dataset: {', '.join(unknown)}. Available: {', '.join(topology.dataset_names)}.")
    places = [place for place in topology.places if not names or place.dataset in names]
    regions = sorted({place.region for place in places})
    with (
        closing(pools_of(topology)) as pools,
        recording(topology, tell) as record,
        borrowed_workers(pools, regions, tell) as compute,
    ):
        context = SyncContext(
            topology=topology,
            catalog=open_catalog(topology.catalog_url),
            compute=compute,
            lustre=lustre_of(topology)(compute),
            accept=accept,
            full=full,
            tell=tell,
        )
        if full and not dry_run:
            repair_catalog(context)
        return [_outcome(context, place, record, dry_run) for place in places]


def _outcome(context: SyncContext, place: Place, record: Record, dry_run: bool) -> dict[str, Any]:
    """Sync one place, or plan its sync, and record what happened; a failure is the outcome of this place alone."""
    try:
        if dry_run:
            outcome = record(planned(context.catalog, plan_place(context, place)))
        else:
            if context.lustre.imports:
                record(imported(place, import_mounts(context, place)))
            outcome = record(synced(sync_place(context, place)))
    except XdaskError as error:
        context.tell(f"{place}: failed")
        return failed(context.catalog, place, error, dry_run=dry_run)
    context.tell(f"{place}: {'planned' if dry_run else 'synced'}")
    return outcome
