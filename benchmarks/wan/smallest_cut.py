"""The least that must cross between Regions, from the sizes of arrays alone.

Belongs here: an exact minimum over all assignments of a job's layers to Regions, found as a mixed-integer programme. It
knows nothing of how the project places work. Does not belong here: running jobs over the network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from dask.callbacks import Callback
from dask.core import flatten
from dask.sizeof import sizeof
from dask.threaded import get
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array

from benchmarks.wan.inputs import CLIENT, WORKERS


class _Sizes(Callback):
    """Bytes that each layer makes, seen while the job runs in this process."""

    def __init__(self, layer_of: Mapping[Any, str]) -> None:
        super().__init__()
        self.layer_of, self.bytes = layer_of, Counter[str]()

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        self.bytes[self.layer_of[key]] += sizeof(result)


def smallest_cut(whole: xr.DataArray, home: Mapping[str, str]) -> int:
    """Bytes that must cross at least, the result's way to the client included; the client's Region computes nothing.

    Parameters
    ----------
    whole
        The job as a lazy array, readable in this process.
    home
        Region of each input by the name of its layer.
    """
    graph = whole.__dask_graph__()
    layer_of = {key: name for name, layer in graph.layers.items() for key in layer}
    outputs = list(flatten(whole.__dask_keys__()))
    with _Sizes(layer_of) as seen:
        get(graph.to_dict(), outputs)
    layers = [*graph.layers, "client"]
    edges = [(u, v) for v, before in graph.dependencies.items() for u in before]
    edges += [(layer_of[outputs[0]], "client")]
    return _least({n: seen.bytes[n] for n in layers}, edges, {**home, "client": CLIENT})


def _least(size: Mapping[str, int], edges: list[tuple[str, str]], fixed: Mapping[str, str]) -> int:
    """Minimise the bytes of every (layer, Region) to which the layer must be sent, over all assignments."""
    regions = (*WORKERS, CLIENT)
    number = {name: i for i, name in enumerate(size)}
    width, n = len(regions), len(size)

    def at(name: str, r: int) -> int:
        """Number of the variable that says whether a layer is computed in a Region."""
        return number[name] * width + r

    def sent(name: str, r: int) -> int:
        """Number of the variable that says whether it is sent there."""
        return n * width + number[name] * width + r

    rows = lil_array((n + len(edges) * width, 2 * n * width))
    low, high = np.zeros(rows.shape[0]), np.full(rows.shape[0], np.inf)
    for i, name in enumerate(size):  # each layer is in one Region
        rows[i, [at(name, r) for r in range(width)]] = 1
        low[i] = high[i] = 1
    for j, (u, v) in enumerate(edges):  # what v needs in its Region is there or was sent there
        for r in range(width):
            k = n + j * width + r
            rows[k, sent(u, r)], rows[k, at(u, r)], rows[k, at(v, r)] = 1, 1, -1
    cost = np.zeros(2 * n * width)
    least, most = np.zeros(2 * n * width), np.ones(2 * n * width)
    for name, nbytes in size.items():
        cost[[sent(name, r) for r in range(width)]] = nbytes
        most[at(name, regions.index(CLIENT))] = name == "client"
    for name, region in fixed.items():
        if name in number:
            least[at(name, regions.index(region))] = 1
    found = milp(
        cost,
        integrality=np.ones(2 * n * width),
        bounds=Bounds(least, most),
        constraints=LinearConstraint(rows.tocsr(), low, high),
    )
    if not found.success:
        raise SystemExit(f"no smallest cut: {found.message}")
    return round(found.fun)
