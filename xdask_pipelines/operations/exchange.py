"""Exchange with other catalogs: exports, imports, and the missing headers of imports.

Belongs here: the work of these commands. Does not belong here: formats (catalog.export, catalog.sources), headers
(access).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.syncing.lease_holder import held
from xdask_pipelines.access.syncing.worker_calls import RegionWorkers, read_headers
from xdask_pipelines.assets.published import address_of
from xdask_pipelines.catalog import Catalog, Change, Entry, open_catalog
from xdask_pipelines.catalog.export.stac import export_stac, link_to
from xdask_pipelines.catalog.sources.pangeo import read_pangeo
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.resources.pools.standing_pools import borrowed_workers
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.mount import Mount
from xdask_pipelines.topology.place import Place

Tell = Callable[[str], None]
#: Number of headers that are read and then committed together; an interruption loses at most these.
_ROUND = 500


def export_to_stac(
    topology: Topology, folder: Path, query: Mapping[str, Any], tell: Tell = lambda line: None
) -> dict[str, int]:
    """Write entries of the topology's datasets as a static STAC catalog; see `catalog.stac.export_stac`.

    Parameters
    ----------
    topology
        The project, from which the addresses of data are derived.
    folder
        Folder of the export; created, or replaced if it is an export.
    query
        As for `Catalog.search`. Results are left out, because each run computes them again.
    tell
        Called with lines of progress.

    Returns
    -------
    Number of items by dataset.
    """
    entries = _of_places(topology, open_catalog(topology.catalog_url).search(**query))
    address = address_of(topology)
    return export_stac(entries, lambda entry: link_to(address(entry)), unpack, folder, tell=tell)


def _of_places(topology: Topology, entries: Sequence[Entry]) -> list[Entry]:
    places = set(topology.places)
    return [entry for entry in entries if (entry.dataset, entry.region) in places]


def import_table(topology: Topology, path: Path, tell: Tell = lambda line: None) -> dict[str, Any]:
    """Import entries from an external table of stores; see `catalog.sources.pangeo.read_pangeo`.

    Existing entries are not changed, because a sync has more information. All new entries of one dataset in one Region
    are one commit.

    Returns
    -------
    ``rows`` read; ``imported`` and ``known`` entries by ``dataset/Region``; ``refused`` rows and examples by reason.

    Raises
    ------
    CatalogError
        If the file is not such a table, or no mount has a source. Nothing is imported.
    StaleWriter
        If a place is being synced. Earlier places stay imported; run again to import the rest.
    """
    mounts = [mount for name, region in topology.places for mount in topology.mounts(name, region) if mount.source]
    if not mounts:
        raise CatalogError(
            "No mount in regions.yaml has a source, so no row can be imported. Add the bucket, such as "
            "`source: s3://cmip6-pds`, to the dataset"
        )
    table = read_pangeo(path, mounts, tell)
    catalog = open_catalog(topology.catalog_url)
    imported, known = {}, {}
    for (name, region), entries in table.entries.items():
        with held(catalog, Place(name, region), tell) as lease:
            base = catalog.manifest(name, region)
            new = [entry for identity, entry in entries.items() if identity not in base.digests]
            tell(f"{name} in {region}: {len(new)} new entries, {len(entries) - len(new)} known")
            if new:
                # Without description, so that the next sync compares everything: the new entries have no objects.
                catalog.commit(
                    Change(new, dataset=name, region=region, holdings="", base_generation=base.generation, lease=lease)
                )
        imported[f"{name}/{region}"], known[f"{name}/{region}"] = len(new), len(entries) - len(new)
    refused = {reason: asdict(rows) for reason, rows in sorted(table.refused.items())}
    return {"rows": table.rows, "imported": imported, "known": known, "refused": refused}


def describe_entries(topology: Topology, query: Mapping[str, Any], tell: Tell = lambda line: None) -> dict[str, Any]:
    """Read the headers of entries without header, in their Regions, and commit them.

    Parameters
    ----------
    topology
        The project. If its pools are down, one temporary worker is started in each Region.
    query
        As for `Catalog.search`.
    tell
        Called with lines of progress.

    Returns
    -------
    ``described`` entries by ``dataset/Region``, and ``unreadable`` entries with reasons, which are not changed.

    Raises
    ------
    CatalogError
        If no entry matches.
    StaleWriter
        If a sync of the same place is running, which reads headers too. Committed headers are kept.
    """
    catalog = open_catalog(topology.catalog_url)
    found = catalog.search(**query)
    if not found:
        raise CatalogError("No entries match. Check the filters with `xdask catalog search`.")
    waiting = [entry for entry in _of_places(topology, found) if entry.header is None]
    described: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    if not waiting:
        return {"described": described, "unreadable": unreadable}
    regions = sorted({entry.region for entry in waiting})
    with closing(pools_of(topology)) as pools, borrowed_workers(pools, regions, tell) as compute:
        for place, its in groupby(waiting, key=lambda entry: Place(entry.dataset, entry.region)):
            entries, name = list(its), "/".join(place)
            workers = RegionWorkers(place.region, compute)
            described[name] = 0
            for start in range(0, len(entries), _ROUND):
                done, bad = _describe(catalog, workers, entries[start : start + _ROUND], topology.mounts(*place), tell)
                described[name] += done
                unreadable |= bad
                tell(f"{name}: {min(start + _ROUND, len(entries))} of {len(entries)} headers")
    return {"described": described, "unreadable": unreadable}


def _describe(
    catalog: Catalog, workers: RegionWorkers, entries: Sequence[Entry], mounts: Sequence[Mount], tell: Tell
) -> tuple[int, dict[str, str]]:
    """Read and commit the headers of some entries of one place."""
    name, region = entries[0].dataset, entries[0].region
    with held(catalog, Place(name, region), tell) as lease:
        # As they are now: a sync may have been here since they were found, and knows more.
        now = {
            e.id: e for e in catalog.search(dataset=name, region=region, key=[e.key for e in entries], superseded=True)
        }
        wanted = [now[e.id] for e in entries if e.id in now and now[e.id].header is None]
        headers, rejected, _ = read_headers(wanted, mounts, workers)
        new = [_with_header(entry, headers[entry.id]) for entry in wanted if entry.id in headers]
        if new:
            catalog.commit(Change(new, dataset=name, region=region, base_generation=lease.generation, lease=lease))
    return len(new), {str(entry): rejected[entry.id] for entry in wanted if entry.id in rejected}


def _with_header(entry: Entry, header: Mapping[str, Any]) -> Entry:
    """Return the entry with its header and, if it has not been listed yet, its size."""
    if entry.etag:
        return entry.with_header(header)
    return replace(entry.with_header(header), **header["file"])
