"""Landmarks of a Region's data: a few entries of the catalog by which a worker recognises the right folder.

Belongs here: which they are, the scheduler's answer (this module is a preload of schedulers), and the comparison. Does not
belong here: starting workers (start_worker), folders of workers that are there (admission).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distributed import Client, Scheduler

from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.scheduler_requests import answer, ask
from xdask_pipelines.resources.results import LAYOUT
from xdask_pipelines.topology import Topology, find_topology

#: Entries of each dataset that are compared.
_EACH = 3


def landmarks(topology: Topology, region: str) -> list[tuple[str, int | None]]:
    """Return keys below a Region's data folder, with their size in bytes; None for stores, which are folders."""
    catalog = open_catalog(topology.catalog_url)
    found = []
    for dataset, where in topology.places:
        if where == region:
            entries = catalog.search(dataset=dataset, region=region, limit=_EACH)
            for entry in entries:
                if entry.layout != LAYOUT:
                    is_store = entry.format.startswith("zarr")
                    found.append((entry.key, None if is_store or not entry.size_bytes else entry.size_bytes))
    return found


def dask_setup(scheduler: Scheduler) -> None:
    """Let a scheduler answer what the Regions are, and what lies in one of them."""
    topology = find_topology()

    async def about(region: str) -> dict[str, Any]:
        # On AWS the templates mount the data, and the scheduler has no way to the catalog.
        compared = region in topology.worker_regions and topology.profile != "aws"
        return {
            "regions": topology.regions,
            "landmarks": await asyncio.to_thread(landmarks, topology, region) if compared else [],
        }

    answer(scheduler, "landmarks", about)


def about_region(client: Client, region: str) -> dict[str, Any] | None:
    """Ask a scheduler for its Regions, and for the landmarks of one; None from a scheduler without a topology."""
    found: dict[str, Any] | None = ask(client, "landmarks", region=region)
    return found


def refuse_other_folder(region: str, folder: Path | None, expected: Sequence[tuple[str, int | None]]) -> None:
    """Refuse a folder that is not the one which the catalog describes.

    Parameters
    ----------
    region
        Region whose data the folder should hold.
    folder
        The folder; None if the worker was given none.
    expected
        Landmarks of the Region.

    Raises
    ------
    PlacementError
        An entry of the catalog is not in the folder, or has another size.
    """
    if not expected:
        return
    if folder is None:
        raise PlacementError(
            f"{region} holds data, such as {expected[0][0]}, and this worker was given no folder. Name it: `--data DIR`."
        )
    for key, size in expected:
        path = folder / key
        if not path.exists():
            problem = f"it has no {key}"
        elif size is not None and path.stat().st_size != size:
            problem = f"{key} has {path.stat().st_size:,} bytes, and {size:,} in the catalog"
        else:
            continue
        raise PlacementError(
            f"{folder} is not the data of {region} that the catalog describes: {problem}. Name the right folder "
            f"(`--data DIR`); or, if the data have changed, sync them first: `xdask sync`."
        )
