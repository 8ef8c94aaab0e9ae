"""Lazy objects inside containers: lists, dictionaries, dataclasses, an xarray DataTree.

Belongs here: finding lazy objects, and putting their results in the same places. Does not belong here: computing them
(compute).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import xarray as xr

from xdask_pipelines.placement.dask_internals import graph_layers

Assemble = Callable[[Sequence[Any]], tuple[Any, ...]]


def unpack(xs: Sequence[Any]) -> tuple[list[Any], Assemble]:
    """Find all lazy objects in containers.

    Parameters
    ----------
    xs
        Objects of any kind.

    Returns
    -------
    lazy
        The Dask collections among and inside them.
    assemble
        Takes one value for each of ``lazy``, and returns ``xs`` with these values in their places. Objects without lazy
        parts stay the same objects.
    """
    unpacked = [graph_layers.unpack(x.to_dict() if isinstance(x, xr.DataTree) else x) for x in xs]
    lazy = [one for collections, _ in unpacked for one in collections]

    def assemble(values: Sequence[Any]) -> tuple[Any, ...]:
        left, results = list(values), []
        for x, (collections, repack) in zip(xs, unpacked, strict=True):
            if not collections:
                results.append(x)
                continue
            own, left = left[: len(collections)], left[len(collections) :]
            (result,) = repack(own)
            results.append(xr.DataTree.from_dict(result, name=x.name) if isinstance(x, xr.DataTree) else result)
        return tuple(results)

    return lazy, assemble
