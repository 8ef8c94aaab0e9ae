"""Small parts that the catalog's tests share: entries, objects and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.layouts.cmip6_pds_layout import Cmip6Pds
from xdask_pipelines.catalog.manifest.listing import StoredObject, list_folder
from xdask_pipelines.catalog.sync import SyncPlan, plan_sync
from xdask_pipelines.topology.mount import Mount

ERA5 = Mount(dataset="era5", region="us-east-1", layout="era5-pds", path="era5-pds")
ERA5_PLACE = {"dataset": "era5", "region": "us-east-1"}
CMIP6 = Mount(dataset="cmip6", region="us-west-2", layout="cmip6-pds", path="cmip6")


def era5(month: str, variable: str = "air_temperature", **changes: Any) -> Entry:
    """One month of one variable; ``month`` like 2011-07."""
    from xdask_pipelines.catalog.times import time_range

    start, end = time_range(month)
    year, number = month.split("-")
    values: dict[str, Any] = {
        "dataset": "era5",
        "region": "us-east-1",
        "layout": "era5-pds",
        "key": f"era5-pds/{year}/{number}/data/{variable}.nc",
        "format": "netcdf4",
        "variable": variable,
        "facets": {"variable": variable, "year": year, "month": number},
        "time_start": start,
        "time_end": end,
        "size_bytes": 100,
        "etag": "e",
    }
    return Entry(**{**values, **changes})


def cmip6(member: str = "r1i1p1f1", experiment: str = "ssp245", version: str = "v20190815", **changes: Any) -> Entry:
    """One store of yearly near-surface temperature."""
    names = ("ScenarioMIP", "MOHC", "UKESM1-0-LL", experiment, member, "Amon", "tas", "gn")
    values: dict[str, Any] = {
        "dataset": "cmip6",
        "region": "us-west-2",
        "layout": "cmip6-pds",
        "key": f"cmip6/{'/'.join(names)}/{version}",
        "format": "zarr2",
        "variable": "tas",
        "facets": dict(zip(Cmip6Pds.FACETS, names, strict=True)),
        "version": version,
        "etag": "e",
    }
    return Entry(**{**values, **changes})


def stored(key: str, size: int = 10, etag: str = "e", modified: int = 1) -> StoredObject:
    return StoredObject(key, size, etag, modified)


def keys(entries: list[Entry]) -> list[str]:
    return [entry.key for entry in entries]


def write(root: Path, key: str, content: bytes = b"content") -> Path:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def plan(catalog: Catalog, root: Path, mount: Mount = ERA5, **options: Any) -> SyncPlan:
    """Plan a sync of a folder against the catalog, as the higher floor does."""
    committed = catalog.manifest(mount.dataset, mount.region)
    known = {item.key: item for item in committed.objects}
    return plan_sync([(mount, list_folder(root, mount.path, known))], committed, **options)
