"""The catalog beside those of others: exports.

Belongs here: what the command line shares with nobody below. Does not belong here: the forms (catalog).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xdask_pipelines.access.header import unpack
from xdask_pipelines.assets.published import address_of
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.catalog.stac import export_stac
from xdask_pipelines.topology import Topology

Tell = Callable[[str], None]


def export_to_stac(
    topology: Topology, folder: Path, query: Mapping[str, Any], tell: Tell = lambda line: None
) -> dict[str, int]:
    """Write entries of the topology's datasets as a static STAC catalog; see `catalog.stac.export_stac`.

    Parameters
    ----------
    topology
        Says where readers find the data.
    folder
        Is made, or replaced if it is such an export.
    query
        As `Catalog.search` takes it. Results are left out: each run makes them anew.
    tell
        Is told of progress.

    Returns
    -------
    Items by dataset.
    """
    places = set(topology.places)
    found = [e for e in open_catalog(topology.catalog_url).search(**query) if (e.dataset, e.region) in places]
    return export_stac(found, address_of(topology), unpack, folder, tell=tell)
