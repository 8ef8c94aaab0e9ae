"""Inputs of the jobs: Zarr stores in a folder for each Region, made once.

Belongs here: what is stored where, and opening it as each way would. Does not belong here: jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client

EAST, WEST, CENTRAL = "us-east-1", "us-west-2", "eu-central-1"
CLIENT = "eu-west-2"
WORKERS = (EAST, WEST, CENTRAL)
PORT = 8000


@dataclass(frozen=True)
class Input:
    """One store: its Region, shape (time, lat, lon) and chunks; values are multiples of 1/512."""

    region: str
    shape: tuple[int, int, int]
    chunks: tuple[int, int, int]
    mean: float

    @property
    def key(self) -> str:
        return f"{self.shape[0]}x{self.shape[1]}-{self.mean:g}.zarr"


def inputs(short: bool) -> dict[str, Input]:
    """Stores by name; short ones for tests."""
    hours, rows = (24, 91) if short else (144, 721)
    fine, wind = (hours, rows, 2 * (rows - 1)), (12, *((46, 90) if short else (361, 720)))
    months = (24, 24, 32) if short else (120, 144, 192)
    return {
        "hourly": Input(EAST, fine, (12, -(-rows // 4), (rows - 1) // 2), 285.0),
        "projection": Input(WEST, months, (12, *months[1:]), 288.0),
        **{
            f"{name}_{at}": Input(region, wind, (3, *wind[1:]), mean)
            for at, region in (("east", EAST), ("west", WEST))
            for name, mean in (("u", 3.0), ("v", 1.0))
        },
        **{f"member_{region}": Input(region, months, (12, *months[1:]), 280.0) for region in WORKERS},
    }


def write(root: Path, wanted: Mapping[str, Input]) -> None:
    """Make the stores that are not there."""
    for number, (name, one) in enumerate(wanted.items()):
        path = root / one.region / one.key
        if (path / ".zmetadata").exists():
            continue
        steps, rows, columns = one.shape
        noise = np.random.default_rng(number)
        lat, lon = np.linspace(90, -90, rows), 360.0 / columns * np.arange(columns)
        warm = one.mean - 40 * np.sin(np.deg2rad(lat))[:, None] ** 2 + 5 * np.cos(np.deg2rad(lon))
        values = np.empty(one.shape, np.float32)
        for step in range(steps):  # noise of 4 K: files compress to three fifths
            values[step] = np.round(512 * (warm + noise.uniform(-4, 4, (rows, columns)))) / 512
        field = xr.DataArray(values, {"lat": lat, "lon": lon}, ("time", "lat", "lon"), "field", {"units": "K"})
        encoding = {"field": {"chunks": one.chunks}}
        field.to_dataset().to_zarr(path, zarr_format=2, consolidated=True, mode="w", encoding=encoding)
        print(f"  made {name} in {one.region}: {values.nbytes / 1e6:.0f} MB raw, {_stored(path) / 1e6:.0f} MB stored")


def _stored(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def over_http(wanted: Mapping[str, Input], addresses: Mapping[str, str]) -> dict[str, xr.DataArray]:
    """Lazy arrays that any process reads from a server in their Region when it computes them."""
    return {n: _open(f"http://{addresses[i.region]}:{PORT}/{i.key}") for n, i in wanted.items()}


def from_files(wanted: Mapping[str, Input], root: Path) -> dict[str, xr.DataArray]:
    """Lazy arrays that are read from the folder of their Region."""
    return {n: _open(str(root / i.region / i.key)) for n, i in wanted.items()}


def _open(url: str) -> xr.DataArray:
    opened = xr.open_dataset(url, engine="zarr", chunks={}, consolidated=True, inline_array=True)["field"]
    return opened.drop_encoding()


@dataclass(frozen=True)
class _Entry:
    """What opening needs of a catalog entry."""

    region: str
    key: str
    format: str
    etag: str
    size_bytes: int
    modified_ns: int
    header: Mapping[str, Any]


def at_home(client: Client, wanted: Mapping[str, Input]) -> dict[str, xr.DataArray]:
    """Lazy arrays placed at home, from headers that are read at home, as a sync does."""
    from xdask_pipelines.access import call_at_home, open_entries
    from xdask_pipelines.placement import compute

    calls = [call_at_home("describe", i.region, _look, i.key) for i in wanted.values()]
    answers, _ = compute(client, *calls)
    entries = [_Entry(i.region, i.key, "zarr2", "", *a) for i, a in zip(wanted.values(), answers, strict=True)]
    return {n: open_entries([e])["field"] for n, e in zip(wanted, entries, strict=True)}


def _look(key: str) -> tuple[int, int, dict[str, Any]]:
    from xdask_pipelines.access.header import describe
    from xdask_pipelines.placement.worker.guard import region_path

    path = region_path(key)
    files = [f.stat() for f in path.rglob("*")]
    return sum(s.st_size for s in files), max(s.st_mtime_ns for s in files), describe(path, "zarr2")
