"""GRIB files: anywhere below the mount.

Belongs here: telling them by their names. Does not belong here: their messages (access.describing.grib).
"""

from __future__ import annotations

from collections.abc import Mapping

from xdask_pipelines.catalog.layouts.base import FILE_FORMATS, Content, Reading
from xdask_pipelines.topology.mount import Mount

_SUFFIXES = tuple(suffix for suffix, kind in FILE_FORMATS.items() if kind == "grib")


class Grib:
    """``[…/]{file}.grib`` (or .grib2, .grb, .grb2): one entry a file, whatever its messages are.

    Facet ``file`` is its path below the mount; its ``variable`` is the file's name without suffix. Which variables and
    times it has, its header says.
    """

    def by_file(self, mount: Mount) -> bool:
        """See :meth:`Layout.by_file`."""
        return True

    def read(self, key: str, mount: Mount) -> Reading | str | None:
        """See :meth:`Layout.read`."""
        name = key.rpartition("/")[2]
        stem, _, _ = name.rpartition(".")
        if name.endswith(".idx"):
            return None  # indexes that cfgrib and others leave beside the data; reporting them would be noise
        if not name.endswith(_SUFFIXES) or not stem:
            return f"its name does not end in {', '.join(_SUFFIXES)}"
        return Reading(variable=stem, facets={"file": mount.below(key)})

    def content(self, variable: str, facets: Mapping[str, str]) -> Content:
        """See :meth:`Layout.content`."""
        return Content()


LAYOUT = Grib()
