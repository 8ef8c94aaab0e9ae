"""Garbage collection: removing stores of failed and superseded runs that have no catalog entry.

Belongs here: finding and removing stores in one Region's results folder. Does not belong here: which stores are in the
catalog.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from time import time

from xdask_pipelines.placement.worker.guard import RESULTS_PREFIX, region_path


@dataclass(frozen=True)
class Collected:
    """The result in one Region: stores in the catalog, removed stores with their bytes, and stores that are too young."""

    named: int
    removed: tuple[str, ...]
    removed_bytes: int
    young: int


def collect_at_home(named: Collection[str], grace_seconds: float) -> Collected:
    """Run `collect` in the results folder of the Region in whose pool this runs."""
    return collect(region_path(RESULTS_PREFIX), named, grace_seconds)


def collect(folder: Path, named: Collection[str], grace_seconds: float) -> Collected:
    """Remove each store that is not in the catalog and was not written to for a while; links are kept.

    Parameters
    ----------
    folder
        Folder with ``<asset>/<version>.zarr``.
    named
        Keys (``results/<asset>/<version>.zarr``) in the catalog. If none of them exists, nothing is removed, because
        the catalog is probably a different one.
    grace_seconds
        Minimum age of removed stores; a computation may still be writing a younger one.
    """
    stores_found = [path for path in folder.glob("*/*.zarr") if not (path.is_symlink() or path.parent.is_symlink())]
    stores = {f"{RESULTS_PREFIX}{path.relative_to(folder).as_posix()}": path for path in stores_found}
    catalogued = [key for key in stores if key in set(named)]
    removed, size, young = [], 0, 0
    for key in sorted(set(stores) - set(catalogued)) if catalogued else ():
        path = stores[key]
        files = [file.stat() for file in (path, *path.rglob("*"))]
        if time() - max(stat.st_mtime for stat in files) < grace_seconds:
            young += 1
            continue
        shutil.rmtree(path)
        path.with_name(f".{path.name}.token").unlink(missing_ok=True)
        removed.append(key)
        size += sum(stat.st_size for stat in files)
    return Collected(len(catalogued), tuple(removed), size, young)
