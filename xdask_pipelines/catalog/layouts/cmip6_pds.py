"""The layout of the public cmip6-pds bucket: the CMIP6 data reference syntax over consolidated Zarr stores.

Belongs here: its paths. Does not belong here: how objects make stores (stores).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.layouts.base import Holding, Quarantined
from xdask_pipelines.catalog.layouts.stores import stores_of
from xdask_pipelines.catalog.listing import StoredObject


class Cmip6Pds:
    """One consolidated Zarr v2 store a variable and version, in the CMIP6 data reference syntax.

    ``[CMIP6/]{activity_id}/{institution_id}/{source_id}/{experiment_id}/{member_id}/{table_id}/{variable_id}/``
    ``{grid_label}/{version}/``; leading parts may belong to the mount. All objects of a store make one entry.
    """

    FACETS = (
        "activity_id",
        "institution_id",
        "source_id",
        "experiment_id",
        "member_id",
        "table_id",
        "variable_id",
        "grid_label",
    )

    def by_file(self, holding: Holding) -> bool:
        """See :meth:`Layout.by_file`."""
        return False

    def parse(self, objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
        """See :meth:`Layout.parse`."""
        stores, quarantined = stores_of(objects)
        entries: list[Entry] = []
        for store in stores:
            parts = store.whole.key.split("/")
            depth = holding.depth(store.whole.key)
            named = parts[-9:]
            extra = depth > 10 or (depth == 10 and parts[-10] != "CMIP6")
            if len(named) < 9 or extra:
                reason = "its path is not [CMIP6/]" + "/".join(f"{{{name}}}" for name in (*self.FACETS, "version"))
                quarantined.append(Quarantined(store.whole.key, f"{reason} below the mount"))
            elif not re.fullmatch(r"v\d+", named[8], re.ASCII):
                reason = f"{named[8]!r} is not a version such as v20190815"
                quarantined.append(Quarantined(store.whole.key, reason))
            else:
                facets = dict(zip(self.FACETS, named, strict=False))
                entries.append(
                    holding.entry(store.whole, store.format, facets["variable_id"], facets=facets, version=named[8])
                )
        return entries, quarantined
