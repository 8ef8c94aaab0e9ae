"""Refusal of Dask's array query planning, which placement does not support.

Belongs here: the check. Does not belong here: what support would need (docs/placement.md).
"""

from __future__ import annotations

import dask

from xdask_pipelines.errors import PlacementError


def refuse_query_planning() -> None:
    """Raise `PlacementError` if Dask's array query planning is on."""
    if dask.config.get("array.query-planning", False):
        raise PlacementError(
            "Dask's array query planning (`array.query-planning`) is on, but placement cannot process its graphs. Set it "
            "to False (DASK_ARRAY__QUERY_PLANNING=False) before dask.array is imported."
        )
