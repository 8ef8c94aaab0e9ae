"""The layout of one's own data: a pattern in ``regions.yaml`` says what paths look like.

Belongs here: what the names that a pattern finds mean. Does not belong here: patterns (path_pattern).
"""

from __future__ import annotations

from collections.abc import Mapping

from xdask_pipelines.catalog.layouts.base import Content, Reading
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.topology.mount import Mount
from xdask_pipelines.topology.path_pattern import read_pattern


class Generic:
    """Paths as ``pattern`` says: names in braces become facets.

    ``{year}``, ``{month}`` and ``{day}`` give the time range too, ``{variable}`` the variable and ``{version}`` the version.
    The pattern's suffix gives the format; one that ends in ``.zarr`` is of whole stores.
    """

    def by_file(self, mount: Mount) -> bool:
        """See :meth:`Layout.by_file`."""
        return read_pattern(mount.pattern).suffix != ".zarr"

    def read(self, key: str, mount: Mount) -> Reading | str | None:
        """See :meth:`Layout.read`."""
        said = read_pattern(mount.pattern).match(mount.below(key))
        if isinstance(said, str):
            return said
        given = [said[name] for name in ("year", "month", "day") if name in said]
        try:
            times = time_range("-".join(given)) if given else (None, None)
        except CatalogError as error:
            return str(error)
        variable = said.get("variable", mount.variable)
        return Reading(variable=variable, version=said.pop("version", ""), facets=said, times=times)

    def content(self, variable: str, facets: Mapping[str, str]) -> Content:
        """See :meth:`Layout.content`."""
        return Content(names=(variable,))


LAYOUT = Generic()
