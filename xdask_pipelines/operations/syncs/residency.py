"""Which files of a selection are on the mounts, and fetching those that are in the buckets only.

Belongs here: choosing files and their Regions. Does not belong here: how files are fetched (lustre).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.lustre import Residency
from xdask_pipelines.resources.mounts import lustre_of
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.resources.pools.standing_pools import borrowed_workers
from xdask_pipelines.resources.results import LAYOUT
from xdask_pipelines.topology import Topology


def residency_of(
    topology: Topology, query: Mapping[str, Any], *, warm: bool = False, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Residency]:
    """Report, by Region, which files of a selection are on the mounts and which are in the buckets only.

    Parameters
    ----------
    topology
        Where everything is.
    query
        As `Catalog.search` takes it.
    warm
        Fetch what is not on the mounts, and wait for it; the report is of the state before.
    tell
        Is called with each line of progress.

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
    with closing(pools_of(topology)) as pools, borrowed_workers(pools, sorted(keys), tell) as compute:
        lustre = lustre_of(topology)(compute)
        if warm:
            return {region: lustre.warm(region, wanted, tell) for region, wanted in sorted(keys.items())}
        return {region: lustre.residency(region, wanted) for region, wanted in sorted(keys.items())}
