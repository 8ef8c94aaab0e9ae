"""The layout of the public era5-pds bucket: one variable and month a file.

Belongs here: its paths. Does not belong here: what is in the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from xdask_pipelines.catalog.layouts.base import Content, Reading
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.topology.mount import Mount


class Era5Pds:
    """``[…/]{year}/{month}/data/{variable}.nc``, one variable and month a file, as in the public era5-pds bucket."""

    _PATH = re.compile(r"(?:.*/)?(\d{4,5})/(\d\d)/data/([A-Za-z][A-Za-z0-9_]*)\.nc", re.ASCII | re.DOTALL)
    _DEPTH = 4
    # main.nc describes a month and holds no field; there is one each month, so reporting them would be noise.
    _IGNORED = re.compile(r"(?:.*/)?\d{4,5}/\d\d/main\.nc", re.ASCII | re.DOTALL)

    def by_file(self, mount: Mount) -> bool:
        """See :meth:`Layout.by_file`."""
        return True

    def read(self, key: str, mount: Mount) -> Reading | str | None:
        """See :meth:`Layout.read`."""
        if self._IGNORED.fullmatch(key):
            return None
        match = self._PATH.fullmatch(key)
        if match is None or mount.depth(key) > self._DEPTH:
            return "its path is not {year}/{month}/data/{variable}.nc below the mount"
        year, month, variable = match.groups()
        if not (1 <= int(month) <= 12 and int(year) >= 1):
            return f"{year}-{month} is not a month"
        facets = {"variable": variable, "year": year, "month": month}
        return Reading(variable=variable, facets=facets, times=time_range(f"{year}-{month}"))

    def content(self, variable: str, facets: Mapping[str, str]) -> Content:
        """See :meth:`Layout.content`."""
        return Content(names=(variable,), step_seconds=3600)


LAYOUT = Era5Pds()
