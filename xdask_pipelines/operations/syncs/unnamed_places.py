"""Entries of datasets that regions.yaml does not name any more, and removing them.

Belongs here: finding and forgetting such entries. Does not belong here: syncs, which update all others (sync_by_hand).
"""

from __future__ import annotations

from xdask_pipelines.catalog import Catalog, Change, ManifestChange, open_catalog
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.resources.results import LAYOUT
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.place import Place


def unnamed_places(topology: Topology, catalog: Catalog) -> dict[Place, int]:
    """Count entries of places that the topology does not name (any more), so that no sync updates them."""
    layouts = [layout for layout in catalog.facets("layout", superseded=True)["layout"] if layout != LAYOUT]
    datasets = catalog.facets("dataset", layout=layouts, superseded=True)["dataset"] if layouts else ()
    counts = {d: catalog.facets("region", dataset=d, layout=layouts, superseded=True)["region"] for d in datasets}
    found = {Place(dataset, region): n for dataset, regions in counts.items() for region, n in regions.items()}
    return {place: n for place, n in found.items() if place not in topology.places}


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
    gone = {place.region: count for place, count in places.items() if place.dataset == name}
    if not gone:
        others = sorted({place.dataset for place in places})
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
