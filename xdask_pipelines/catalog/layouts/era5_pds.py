"""The layout of the public era5-pds bucket: one variable and month a file.

Belongs here: its paths. Does not belong here: what is in the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.layouts.base import EMPTY, Holding, Quarantined
from xdask_pipelines.catalog.listing import StoredObject
from xdask_pipelines.catalog.times import time_range


class Era5Pds:
    """``[…/]{year}/{month}/data/{variable}.nc``, one variable and month a file, as in the public era5-pds bucket."""

    _PATH = re.compile(r"(?:.*/)?(\d{4,5})/(\d\d)/data/([A-Za-z][A-Za-z0-9_]*)\.nc", re.ASCII | re.DOTALL)
    _DEPTH = 4
    # main.nc describes a month and holds no field; there is one each month, so reporting them would be noise.
    _IGNORED = re.compile(r"(?:.*/)?\d{4,5}/\d\d/main\.nc", re.ASCII | re.DOTALL)

    def by_file(self, holding: Holding) -> bool:
        """See :meth:`Layout.by_file`."""
        return True

    def parse(self, objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
        """See :meth:`Layout.parse`."""
        entries: list[Entry] = []
        quarantined: list[Quarantined] = []
        for item in objects:
            match = self._PATH.fullmatch(item.key)
            if self._IGNORED.fullmatch(item.key):
                continue
            if match is None or holding.depth(item.key) > self._DEPTH:
                reason = "its path is not {year}/{month}/data/{variable}.nc below the mount"
                quarantined.append(Quarantined(item.key, reason))
            elif not (1 <= int(match[2]) <= 12 and int(match[1]) >= 1):
                quarantined.append(Quarantined(item.key, f"{match[1]}-{match[2]} is not a month"))
            elif item.size_bytes == 0:
                quarantined.append(Quarantined(item.key, EMPTY))
            else:
                year, month, variable = match.groups()
                start, end = time_range(f"{year}-{month}")
                facets = {"variable": variable, "year": year, "month": month}
                entries.append(holding.entry(item, "netcdf4", variable, facets=facets, time_start=start, time_end=end))
        return entries, quarantined
