"""Pinning: giving lazy data a home by hand.

Belongs here: `pin`. Does not belong here: opening data, which gives a home by itself.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import dask.array as da
from dask.base import is_dask_collection, tokenize
from dask.blockwise import blockwise
from dask.highlevelgraph import HighLevelGraph

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.homes import PIN, layer_name

T = TypeVar("T")


def _keep(block: Any) -> Any:
    return block


def pin(x: T, region: str) -> T:
    """Give lazy data a home: every task that only ``x`` needs runs in ``region``.

    Parameters
    ----------
    x
        Dask array or xarray object; numpy-backed variables become one chunk.
    region
        Worker Region.

    Returns
    -------
    Same type and values as ``x``. What is computed from it belongs in ``region`` too, whatever ``x`` was made from;
    reads of other Regions below it stay where they belong.

    Raises
    ------
    PlacementError
        If ``x`` is not an array, or the Region's name cannot be one.
    """
    if isinstance(x, da.Array):
        return cast(T, _pin_array(x, region))
    if hasattr(x, "chunk") and hasattr(x, "map_blocks") and hasattr(x, "dims"):
        return cast(T, _pin_xarray(x, region))
    raise PlacementError(
        f"Only Dask arrays and xarray objects can be pinned to {region}, not {type(x).__name__}. "
        "Use dask.array.from_delayed for delayed values."
    )


def _pin_array(x: da.Array, region: str) -> da.Array:
    name = layer_name(PIN, region, tokenize(x.name, region))
    axes = tuple(range(x.ndim))
    layer = blockwise(_keep, name, axes, x.name, axes, numblocks={x.name: x.numblocks})
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[x])  # type: ignore[list-item]
    return da.Array(graph, name, chunks=x.chunks, meta=x._meta)


def _pin_xarray(x: Any, region: str) -> Any:
    lazy = x if is_dask_collection(x) else x.chunk()
    if hasattr(lazy, "data_vars"):
        return lazy.map(lambda v: _pin_xarray(v, region) if v.chunks else v, keep_attrs=True)
    return lazy.copy(data=_pin_array(lazy.data, region))
