"""The layout of the public cmip6-pds bucket: the CMIP6 data reference syntax over consolidated Zarr stores.

Belongs here: its paths. Does not belong here: how objects make stores (stores).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from xdask_pipelines.catalog.layouts.base import Content, Reading
from xdask_pipelines.topology.mount import Mount


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

    def by_file(self, mount: Mount) -> bool:
        """See :meth:`Layout.by_file`."""
        return False

    def read(self, key: str, mount: Mount) -> Reading | str | None:
        """See :meth:`Layout.read`."""
        parts, depth = key.split("/"), mount.depth(key)
        if len(parts) < 9 or depth > 10 or (depth == 10 and parts[-10] != "CMIP6"):
            named = "/".join(f"{{{name}}}" for name in (*self.FACETS, "version"))
            return f"its path is not [CMIP6/]{named} below the mount"
        *values, version = parts[-9:]
        if not re.fullmatch(r"v\d+", version, re.ASCII):
            return f"{version!r} is not a version such as v20190815"
        facets = dict(zip(self.FACETS, values, strict=True))
        return Reading(variable=facets["variable_id"], facets=facets, version=version)

    def content(self, variable: str, facets: Mapping[str, str]) -> Content:
        """See :meth:`Layout.content`."""
        return Content(names=(variable,))


LAYOUT = Cmip6Pds()
