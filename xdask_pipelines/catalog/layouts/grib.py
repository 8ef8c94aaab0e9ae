"""GRIB files: anywhere below the mount.

Belongs here: telling them by their names. Does not belong here: their messages (access.grib).
"""

from __future__ import annotations

from collections.abc import Iterable

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.layouts.base import EMPTY, FILE_FORMATS, Holding, Quarantined
from xdask_pipelines.catalog.listing import StoredObject

_SUFFIXES = tuple(suffix for suffix, kind in FILE_FORMATS.items() if kind == "grib")


class Grib:
    """``[…/]{file}.grib`` (or .grib2, .grb, .grb2): one entry a file, whatever its messages are.

    Facet ``file`` is its path below the mount; its ``variable`` is the file's name without suffix. Which variables and
    times it has, its header says.
    """

    def by_file(self, holding: Holding) -> bool:
        """See :meth:`Layout.by_file`."""
        return True

    def parse(self, objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
        """See :meth:`Layout.parse`."""
        entries: list[Entry] = []
        quarantined: list[Quarantined] = []
        for item in objects:
            name = item.key.rpartition("/")[2]
            stem, _, _ = name.rpartition(".")
            if name.endswith(".idx"):
                continue  # indexes that cfgrib and others leave beside the data; reporting them would be noise
            if not name.endswith(_SUFFIXES) or not stem:
                quarantined.append(Quarantined(item.key, f"its name does not end in {', '.join(_SUFFIXES)}"))
            elif item.size_bytes == 0:
                quarantined.append(Quarantined(item.key, EMPTY))
            else:
                entries.append(holding.entry(item, "grib", stem, facets={"file": holding.below(item.key)}))
        return entries, quarantined
