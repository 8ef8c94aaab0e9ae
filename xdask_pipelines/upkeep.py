"""Syncs by hand: the same sync as the nightly assets', for operators.

Belongs here: running syncs with or without standing pools. Does not belong here: what a sync does (access).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from xdask_pipelines.access.sync import Compute, Synced, sync
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.errors import TopologyError
from xdask_pipelines.placement import compute, local_regions
from xdask_pipelines.resources.pools import Pools
from xdask_pipelines.topology import Topology


def sync_datasets(
    topology: Topology,
    names: Sequence[str] = (),
    *,
    accept: str | None = None,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Sync datasets in all their Regions; all datasets if none is named.

    Returns
    -------
    One document for each dataset and Region: counts, quarantined keys with reasons, generation.

    Raises
    ------
    TopologyError
        If a name is not a dataset.
    SuspiciousPlan, CatalogError
        As `access.sync.sync` does; places synced before stay synced.
    """
    unknown = sorted(set(names) - set(topology.dataset_names))
    if unknown:
        raise TopologyError(f"No such dataset: {', '.join(unknown)}. There are {', '.join(topology.dataset_names)}.")
    chosen = names or topology.dataset_names
    places = [(n, r) for n in chosen for r in dict.fromkeys(r for r, _ in topology.datasets(n))]
    catalog = open_catalog(topology.catalog_url)
    done = []
    with _computing(topology, sorted({r for _, r in places}), tell) as run:
        for name, region in places:
            result = sync(topology, catalog, run, name, region, accept=accept, dry_run=dry_run)
            synced = isinstance(result, Synced)
            done.append(
                {
                    "dataset": name,
                    "region": region,
                    "counts": dict(result.counts if isinstance(result, Synced) else result.summary()),
                    "quarantined": {q.key: q.reason for q in result.quarantined},
                    **({"generation": result.generation} if isinstance(result, Synced) else {"plan": result.digest}),
                }
            )
            tell(f"{name} in {region}: {'synced' if synced else 'planned'}")
    return done


@contextmanager
def _computing(topology: Topology, regions: list[str], tell: Callable[[str], None]) -> Iterator[Compute]:
    """The standing pools, or for the time being one worker in each Region that is synced."""
    pools = Pools(topology)
    if pools.status().up:
        try:
            yield pools.compute
        finally:
            pools.close()
        return
    tell(f"the pools are down: starting one worker each in {', '.join(regions)}, for this sync only")
    data = {r: topology.data_folder(r) for r in regions}
    with local_regions(regions, data=data) as client:
        yield partial(compute, client)
