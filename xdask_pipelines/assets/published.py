"""The asset that publishes the catalog for everybody else's tools.

Belongs here: what is published, and where readers find the data. Does not belong here: the form (catalog.esm).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from xdask_pipelines.assets.datasets import GROUP, OPERATORS, catalog_key, region_tag
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.export.esm import publish, publishable
from xdask_pipelines.resources.failures import explained
from xdask_pipelines.resources.var import writable
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology

NAME = "published_catalogs"


def publish_datasets(topology: Topology, catalog: Catalog) -> dict[str, tuple[Path, int]]:
    """Write ``var/published/<dataset>/catalog.json`` of every dataset that has entries which plain intake-esm opens.

    Returns
    -------
    The file, and how many entries it holds, by dataset.
    """
    folder = writable(topology, "published")
    done = {}
    for name in topology.dataset_names:
        if entries := publishable(catalog.search(dataset=name, region=list(topology.regions_of(name)))):
            done[name] = publish(entries, address_of(topology), folder / name, name)
    return done


def address_of(topology: Topology) -> Callable[[Entry], str]:
    """Where a reader outside of the pools finds an entry: in its bucket, or in its folder on this machine."""

    def address(entry: Entry) -> str:
        for mount in topology.mounts(entry.dataset, entry.region):
            if mount.from_bucket and mount.holds(entry.key):
                return mount.source.rstrip("/") + entry.key[len(mount.path) :]
        return f"file://{topology.data_folder(entry.region) / entry.key}"  # intake-esm opens Zarr stores by URL alone

    return address


def published_asset(topology: Topology) -> dg.AssetsDefinition:
    """The asset, after all syncs."""

    @dg.asset(
        name=NAME,
        deps=[catalog_key(*place) for place in topology.places],
        group_name=GROUP,
        description="catalog.json and a Parquet table for each dataset, which plain intake-esm opens.",
        kinds={"catalog"},
        owners=[OPERATORS],
        tags=region_tag([region for _, region in topology.places]),
    )
    def published(context: dg.AssetExecutionContext, catalog: dg.ResourceParam[Catalog]) -> dg.MaterializeResult[Any]:
        with explained():
            done = publish_datasets(topology, catalog)
        said = {name: f"{counted(count, 'entry', 'entries')}: {path}" for name, (path, count) in done.items()}
        return dg.MaterializeResult(metadata=said)

    return published
