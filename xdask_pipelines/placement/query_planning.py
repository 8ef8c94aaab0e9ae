"""Dask's array query planning, which placement cannot follow, is refused.

Belongs here: that refusal. Does not belong here: what placing array expressions would take (docs/placement.md).
"""

from __future__ import annotations

import dask

from xdask_pipelines.errors import PlacementError


def refuse_query_planning() -> None:
    """Raise `PlacementError` if Dask creates its array graphs after placement has looked at them."""
    if dask.config.get("array.query-planning", False):
        raise PlacementError(
            "Dask's array query planning (`array.query-planning`) is on. Its graphs are created after placement has "
            "looked: set it to False (DASK_ARRAY__QUERY_PLANNING=False) before dask.array is imported."
        )
