"""Materializing one asset from the command line.

Belongs here: the report of such a run. Does not belong here: running (project), printing (cli).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from xdask_pipelines.operations.project import instance, run_assets
from xdask_pipelines.operations.ui import PORT, running_ui
from xdask_pipelines.placement.client.compute import Progress
from xdask_pipelines.resources.pools.pools_of_topology import extra_workers, pools_of
from xdask_pipelines.resources.pools.standing_pools import Tell
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.topology import Topology

#: Metadata that are only for the UI: the summary and the picture as Markdown, and a table.
_SHOWN_ELSEWHERE = ("result", "map", "plot", "sources", "picture_file")


def materialize(
    topology: Topology,
    asset: str,
    partitions: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    watch: Progress | None = None,
    note: Tell | None = None,
    extra: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Materialize one asset on running pools.

    Parameters
    ----------
    topology
        The project.
    asset
        Name of the asset.
    partitions
        Partition keys, first and last.
    config
        Config values.
    watch
        Called with progress.
    note
        Called with a line for what delays the run.
    extra
        Further instances by Region, for this run alone.

    Returns
    -------
    ``run_id``, ``asset``, ``warnings``; ``checks``, the state of each; ``metadata`` of the materialization without its
    picture and its table of sources; ``picture``, the PNG file, or None; ``page`` of the asset in the UI, and ``ui_is_up``.

    Raises
    ------
    XdaskError
        As in `run_assets`.
    """
    pools = pools_of(topology, watch, note)
    try:
        with instance(topology) as history, extra_workers(pools, extra or {}, note or (lambda line: None)):
            done = run_assets(
                *(topology, pools, history, [asset]), configs={asset: config} if config else {}, partitions=partitions
            )
    finally:
        pools.close()
    metadata = done.metadata.get(asset, {})
    ui, picture = running_ui(topology), metadata.get("picture_file")
    return {
        "run_id": done.run_id,
        "asset": asset,
        "warnings": list(done.warnings),
        "checks": dict(done.checks.get(asset, {})),
        "metadata": {k: v for k, v in metadata.items() if k not in _SHOWN_ELSEWHERE},
        "picture": str(picture) if picture else None,
        "page": f"http://{LOOPBACK}:{ui.port if ui else PORT}/assets/{quote(asset)}",
        "ui_is_up": ui is not None,
    }
