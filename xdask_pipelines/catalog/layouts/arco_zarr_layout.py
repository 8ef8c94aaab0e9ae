"""Analysis-ready cubes: whole Zarr stores, each of several variables, anywhere below the mount.

Belongs here: naming the entry of a store. Does not belong here: how objects make stores (stores).
"""

from __future__ import annotations

from collections.abc import Mapping

from xdask_pipelines.catalog.layouts.base import Content, Reading
from xdask_pipelines.topology.mount import Mount


class ArcoZarr:
    """``[…/]{store}``: one entry a store, Zarr v2 or v3, however many variables and chunks it has.

    Facet ``store`` is its path below the mount (the mount's own name, if the mount is the store); its ``variable`` is the
    store's name without ``.zarr``. Which variables it has, its header says: ``open_entries(entries, ["t2m"])``.
    """

    def by_file(self, mount: Mount) -> bool:
        """See :meth:`Layout.by_file`."""
        return False

    def read(self, key: str, mount: Mount) -> Reading | str | None:
        """See :meth:`Layout.read`."""
        name = key.rpartition("/")[2]
        return Reading(variable=name.removesuffix(".zarr") or name, facets={"store": mount.below(key) or name})

    def content(self, variable: str, facets: Mapping[str, str]) -> Content:
        """See :meth:`Layout.content`."""
        return Content()


LAYOUT = ArcoZarr()
