"""The list of a project's assets: their state, and the Regions in which they were computed.

Belongs here: reading definitions and history. Does not belong here: formatting (cli).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from xdask_pipelines.assets.analysis import analysis_of
from xdask_pipelines.assets.datasets import REGION_TAG
from xdask_pipelines.build import assemble
from xdask_pipelines.operations.project import instance, passed_checks
from xdask_pipelines.topology import Topology


def listed_assets(topology: Topology) -> list[dict[str, Any]]:
    """List all assets of a project, in the order of their names.

    Returns
    -------
    For each asset: ``asset``, ``group``, the first line of its ``description``, when it was last ``made`` (ISO 8601 in UTC,
    None if never), its ``state`` (``never made``, ``made``, or ``refused`` if its checks refused what was made), and the
    ``regions`` in which its tasks ran then; of an asset without tasks of its own, those of its data.
    """
    definitions = assemble(topology).definitions
    assets = []
    with instance(topology) as history:
        for asset in definitions.resolve_all_asset_specs():
            event = history.get_latest_materialization_event(asset.key)
            made = event.asset_materialization if event else None
            values = {k: v.value for k, v in made.metadata.items()} if made else {}
            when = datetime.fromtimestamp(event.timestamp, UTC).isoformat() if event else None
            assets.append(
                {
                    "asset": asset.key.to_user_string(),
                    "group": asset.group_name,
                    "description": (asset.description or "").strip().split("\n")[0],
                    "made": when,
                    "state": _state(history, asset, made is not None),
                    "regions": sorted(_evidence(values).get("tasks_by_region", ())) or _tagged(asset.tags),
                }
            )
    return sorted(assets, key=lambda each: str(each["asset"]))


def _state(history: dg.DagsterInstance, asset: dg.AssetSpec, made: bool) -> str:
    if not made:
        return "never made"
    checked = analysis_of(asset) is not None
    return "made" if not checked or passed_checks(history, asset.key.to_user_string()) else "refused"


def _tagged(tags: Mapping[str, str]) -> list[str]:
    return [region for region in tags.get(REGION_TAG, "").split("_") if region]


def _evidence(values: dict[str, Any]) -> dict[str, Any]:
    evidence = values.get("evidence")
    return evidence if isinstance(evidence, dict) else {}
