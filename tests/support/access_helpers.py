"""Entries made by hand, described at home, for tests of reading and writing.

Belongs here: what several test files of access share. Does not belong here: claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from xdask_pipelines.access import call_at_home
from xdask_pipelines.access.header import describe
from xdask_pipelines.placement import compute
from xdask_pipelines.placement.worker.guard import region_path


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


def look(key: str, file_format: str) -> tuple[int, int, dict[str, Any]]:
    """Size, time of change and header of an entry; runs on a worker of its Region."""
    path: Path = region_path(key)
    files = [f.stat() for f in ([path] if path.is_file() else path.rglob("*"))]
    return sum(s.st_size for s in files), max(s.st_mtime_ns for s in files), describe(path, file_format)


def described(client: Client, region: str, *keys: str, file_format: str = "netcdf4") -> list[Entry]:
    """Entries as a sync would make them."""
    calls = [call_at_home("describe", region, look, key, file_format) for key in keys]
    answers, _ = compute(client, *calls)
    return [Entry(region, key, file_format, "etag", *answer) for key, answer in zip(keys, answers, strict=True)]
