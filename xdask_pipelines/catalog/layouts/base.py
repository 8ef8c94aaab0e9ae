"""What all layouts share: one mount as the topology describes it, what a path says, and a refusal.

Belongs here: the forms that no single convention owns. Does not belong here: any convention, making entries (parse).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from xdask_pipelines.catalog.entry import Format
from xdask_pipelines.topology.mount import Mount

#: Format of a single file by its suffix.
FILE_FORMATS: Mapping[str, Format] = {
    ".nc": "netcdf4",
    ".nc4": "netcdf4",
    ".grib": "grib",
    ".grib2": "grib",
    ".grb": "grib",
    ".grb2": "grib",
}


@dataclass(frozen=True, slots=True, order=True)
class Quarantined:
    """An object or store that is not catalogued, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the path of one file or store says; see the fields of `Entry`."""

    variable: str
    facets: Mapping[str, str]
    version: str = ""
    times: tuple[int, int] | tuple[None, None] = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a convention says of the content of one of its files or stores, beyond the words of the path.

    ``names`` are those under which the file may hold the variable that its path names; empty if the path names none.
    ``timeless``: the data have no time, whatever axis the file carries. ``step_seconds``: length of a step, where the
    convention fixes it.
    """

    names: tuple[str, ...] = ()
    timeless: bool = False
    step_seconds: int | None = None


class Layout(Protocol):
    """One convention of paths."""

    def by_file(self, mount: Mount) -> bool:
        """Whether each object makes an entry of its own and of its own key, whatever else there is; else stores do."""
        ...

    def read(self, key: str, mount: Mount) -> Reading | str | None:
        """What the key of a file or store says; why it says nothing, as text; or None for what is noise."""
        ...

    def content(self, variable: str, facets: Mapping[str, str]) -> Content:
        """What must be true of the content of an entry with this variable and these facets."""
        ...
