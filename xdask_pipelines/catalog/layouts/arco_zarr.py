"""Analysis-ready cubes: whole Zarr stores, each of several variables, anywhere below the mount.

Belongs here: naming the entry of a store. Does not belong here: how objects make stores (stores).
"""

from __future__ import annotations

from collections.abc import Iterable

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.layouts.base import Holding, Quarantined
from xdask_pipelines.catalog.layouts.stores import stores_of
from xdask_pipelines.catalog.listing import StoredObject


class ArcoZarr:
    """``[…/]{store}``: one entry a store, Zarr v2 or v3, however many variables and chunks it has.

    Facet ``store`` is its path below the mount (the mount's own name, if the mount is the store); its ``variable`` is the
    store's name without ``.zarr``. Which variables it has, its header says: ``open_entries(entries, ["t2m"])``.
    """

    def by_file(self, holding: Holding) -> bool:
        """See :meth:`Layout.by_file`."""
        return False

    def parse(self, objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
        """See :meth:`Layout.parse`."""
        stores, quarantined = stores_of(objects)
        entries = []
        for store in stores:
            name = store.whole.key.rpartition("/")[2]
            facets = {"store": holding.below(store.whole.key) or name}
            entries.append(holding.entry(store.whole, store.format, name.removesuffix(".zarr") or name, facets=facets))
        return entries, quarantined
