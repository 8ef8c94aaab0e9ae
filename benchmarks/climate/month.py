"""The months that are read: synthetic, with the chunks and the packing of ERA5's files.

Belongs here: writing them once, and their catalog entries. Does not belong here: reading them (ways).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from distributed import Client

from xdask_pipelines.access import call_at_home
from xdask_pipelines.access.header import describe
from xdask_pipelines.placement import compute
from xdask_pipelines.placement.worker.guard import region_path
from xdask_pipelines.synthetic import write_era5_month

VARIABLE = "air_temperature_at_2_metres"
REGION = "us-east-1"
SHAPE = (721, 1440)
#: Packs 6.6 times, as the files of the public bucket do (6.5 to 7 times).
_ROUGHNESS = 0.018


@dataclass(frozen=True)
class Month:
    """One file, and what is in it."""

    path: Path
    hours: int

    @property
    def stored(self) -> tuple[int, list[tuple[int, int]], tuple[int, ...]]:
        """Bytes of the chunks together, offset and size of each, and the shape of one."""
        with h5py.File(self.path) as file:
            variable = file[VARIABLE].id
            infos = [variable.get_chunk_info(i) for i in range(variable.get_num_chunks())]
            chunks = file[VARIABLE].chunks
        return sum(i.size for i in infos), [(i.byte_offset, i.size) for i in infos], chunks


@dataclass(frozen=True)
class Entry:
    """What opening needs of a catalog entry."""

    region: str
    key: str
    format: str
    etag: str
    size_bytes: int
    modified_ns: int
    header: Mapping[str, Any] | None


def written_month(folder: Path, hours: int, month: int = 1) -> Month:
    """Write a month of the year 2011, unless it is there; a whole one takes a minute and 470 MB."""
    root = folder / f"{hours}h"
    path = root / f"2011/{month:02}/data/{VARIABLE}.nc"
    if not path.exists():
        print(f"  writing {hours} hours of {SHAPE[0]} x {SHAPE[1]} to {path}", flush=True)
        write_era5_month(root, 2011, month, hours=hours, shape=SHAPE, roughness=_ROUGHNESS)
    return Month(path, hours)


def _looked_at(key: str) -> tuple[int, int, dict[str, Any]]:
    path = region_path(key)
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, describe(path, "netcdf4", (VARIABLE,))


def entries_of(client: Client, data: Path, months: list[Month]) -> list[Entry]:
    """Return the entries of months, described in their Region as a sync does it."""
    keys = [str(month.path.relative_to(data)) for month in months]
    answers, _ = compute(client, *(call_at_home("describe", REGION, _looked_at, key) for key in keys))
    return [Entry(REGION, key, "netcdf4", "etag", *answer) for key, answer in zip(keys, answers, strict=True)]
