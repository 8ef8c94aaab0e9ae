"""Pinning: choosing the home Region of lazy data by hand.

Belongs here: `pin`. Does not belong here: opening data, which sets the home Region automatically.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import dask.array as da
from dask.base import is_dask_collection, tokenize

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.graph_layers import HighLevelGraph, blockwise
from xdask_pipelines.placement.graph.homes import PIN, layer_name

T = TypeVar("T")


def _keep(block: Any) -> Any:
    return block


def pin(x: T, region: str) -> T:
    """Set the home Region of lazy data: every task that only ``x`` needs runs in ``region``.

    Parameters
    ----------
    x
        Dask array, DataArray, Dataset or DataTree; numpy-backed variables become one chunk. Lazy coordinates are pinned
        with the data.
    region
        Worker Region.

    Returns
    -------
    Same type and values as ``x``. Results that are computed from it belong in ``region`` too, whatever ``x`` was
    computed from; reads of other Regions stay in their home Regions.

    Raises
    ------
    PlacementError
        If ``x`` is not an array, or the Region's name is not valid.

    Examples
    --------
    >>> import dask.array as da
    >>> from xdask_pipelines.placement import plan
    >>> field = pin(da.ones((100, 100), chunks=50), "us-east-1")
    >>> sorted(plan(field.mean()).tasks_by_region)
    ['us-east-1']
    """
    if isinstance(x, da.Array):
        return cast(T, _pin_array(x, region))
    if hasattr(x, "map_over_datasets"):
        return cast(T, x.map_over_datasets(lambda node: _pin_xarray(node, region)))
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
    pinned = {
        name: variable.copy(data=_pin_array(variable.data, region))
        for name, variable in (lazy.variables if hasattr(lazy, "data_vars") else lazy.coords.variables).items()
        if variable.chunks is not None
    }
    if hasattr(lazy, "data_vars"):
        return lazy.assign(
            {name: variable for name, variable in pinned.items() if name in lazy.data_vars}
        ).assign_coords({name: variable for name, variable in pinned.items() if name in lazy.coords})
    own = _pin_array(lazy.data, region) if lazy.chunks is not None else lazy.data
    return lazy.copy(data=own).assign_coords(pinned)
