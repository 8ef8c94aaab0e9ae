"""Datasets in Dagster's history: the keys of their assets, and what each sync records, whether an asset or a command ran it.

Belongs here: keys, tags, and an outcome as an event and as a document. Does not belong here: the assets (nightly_sync),
writing to the history (sync_history), the sync itself (access).
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import dagster as dg

from xdask_pipelines.access.syncing.sync_place import Synced
from xdask_pipelines.catalog import Catalog
from xdask_pipelines.catalog.layouts import Quarantined
from xdask_pipelines.catalog.sync import SyncPlan
from xdask_pipelines.errors import SuspiciousPlan, XdaskError
from xdask_pipelines.lustre import ImportReport
from xdask_pipelines.system.safe_text import markdown
from xdask_pipelines.topology.place import Place

GROUP = "datasets"
#: Owner of the assets that keep datasets and results in order.
OPERATORS = "team:operators"
REGION_TAG = "xdask/region"
_LONGEST_TAG = 63  # characters that Dagster accepts
_DATA_VERSION = "dagster/data_version"  # tag of a materialization outside a run
_FEW = 1000  # rows of a table in the UI; more make its page slow


def lustre_key(dataset: str, region: str) -> dg.AssetKey:
    """Key of the asset that keeps a dataset's mounts in a Region up to date.

    The key has one part, because nodes of Dagster's graph show only the last part of a key.
    """
    return dg.AssetKey(f"{dataset}_lustre_{region}")


def catalog_key(dataset: str, region: str) -> dg.AssetKey:
    """Key of the asset that keeps the catalog's entries of a dataset in a Region up to date."""
    return dg.AssetKey(f"{dataset}_catalog_{region}")


def region_tag(regions: Collection[str]) -> dict[str, str]:
    """Asset tag that names the Regions whose data an asset is computed from."""
    joined = "_".join(sorted(regions))
    return {REGION_TAG: joined if len(joined) <= _LONGEST_TAG else "several"} if regions else {}


class SyncRecord(NamedTuple):
    """An outcome in both forms."""

    event: dg.AssetMaterialization | dg.AssetObservation
    document: dict[str, Any]


def imported(place: Place, reports: Sequence[ImportReport]) -> SyncRecord:
    """Record the imports of a place: a materialization of its mounts."""
    figures: dict[str, Any] = {
        "state": ", ".join(f"{r.mount} {r.state}" for r in reports),
        "files": sum(r.files for r in reports),
        "failed": sum(r.failed for r in reports),
        "detail": "; ".join(r.detail for r in reports if r.detail) or "none",
    }
    return SyncRecord(dg.AssetMaterialization(lustre_key(*place), metadata=figures), place._asdict() | figures)


def synced(done: Synced) -> SyncRecord:
    """Record a sync: a materialization of the entries; its data version is the state of the mount."""
    as_of = done.as_of.isoformat() if done.as_of else None
    metadata: dict[str, Any] = {
        **done.counts,
        "entries": done.entries,
        "generation": done.generation,
        "as_of": as_of or "listed now",
        "quarantine": _table(done.quarantined),
        "warnings": dg.MetadataValue.md("\n".join(f"- {markdown(w)}" for w in done.warnings) or "none"),
        "bytes_read_by_region": dg.MetadataValue.json(dict(done.evidence.bytes_read_by_region)),
        "bytes_across": dg.MetadataValue.json(done.evidence.as_dict()["bytes_across"]),
    }
    document = {
        **done.place._asdict(),
        "counts": dict(done.counts),
        "quarantined": {q.key: q.reason for q in done.quarantined},
        "warnings": list(done.warnings),
        "generation": done.generation,
        "as_of": as_of,
    }
    event = dg.AssetMaterialization(catalog_key(*done.place), metadata=metadata, tags={_DATA_VERSION: done.digest})
    return SyncRecord(event, document)


def planned(catalog: Catalog, plan: SyncPlan) -> SyncRecord:
    """Record a dry run: an observation of the entries, as nothing was changed."""
    metadata: dict[str, Any] = {
        **plan.summary(),
        "digest": plan.digest,
        "added_keys": dg.MetadataValue.json([e.key for e in plan.added[:_FEW]]),
        "changed_keys": dg.MetadataValue.json([e.key for e in plan.changed[:_FEW]]),
        "quarantine": _table(plan.quarantined),
    }
    event = dg.AssetObservation(catalog_key(plan.dataset, plan.region), metadata=metadata)
    return SyncRecord(event, _plan_document(catalog, plan))


def failed(catalog: Catalog, place: Place, error: XdaskError, *, dry_run: bool) -> dict[str, Any]:
    """Document of a sync that failed, which leaves no event; for a refused dry run with what the sync would do."""
    plan = error.plan if dry_run and isinstance(error, SuspiciousPlan) else None
    refused = _plan_document(catalog, plan) if plan else {}
    return {**place._asdict(), "error": type(error).__name__, "message": str(error), **refused}


def _plan_document(catalog: Catalog, plan: SyncPlan) -> dict[str, Any]:
    found = catalog.search(dataset=plan.dataset, region=plan.region, superseded=True) if plan.removed else ()
    keys = {e.id: e.key for e in found}
    return {
        "dataset": plan.dataset,
        "region": plan.region,
        "counts": plan.summary(),
        "quarantined": {q.key: q.reason for q in plan.quarantined},
        "plan": plan.digest,
        "added": [e.key for e in plan.added],
        "changed": [e.key for e in plan.changed],
        "removed": sorted(keys[identity] for identity in plan.removed),
    }


def _table(quarantined: Sequence[Quarantined]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({"key": q.key, "reason": q.reason}) for q in quarantined[:_FEW]],
        dg.TableSchema([dg.TableColumn("key"), dg.TableColumn("reason")]),
    )
