"""The least that must cross between Regions, from the sizes of arrays alone.

Belongs here: an exact minimum over all assignments of a job's layers to Regions, found as a mixed-integer programme. It
knows nothing of how the project places work. Does not belong here: running jobs over the network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
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


def smallest_cut(
    whole: Any,
    home: Mapping[str, str],
    regions: Sequence[str] = (*WORKERS, CLIENT),
    client: str = CLIENT,
    price: Callable[[str, str], float] = lambda src, dst: float(src != dst),
    *,
    client_computes: bool = False,
) -> float:
    """Bytes that must cross at least, the result's way to the client included.

    Parameters
    ----------
    whole
        The job as a lazy array, readable in this process.
    home
        Region of each input by the name of its layer.
    regions
        All Regions, the client's last.
    client
        The client's Region.
    price
        Cost of a byte between two Regions, 0 within one; by default all cost 1.
    client_computes
        Whether anything may be computed in the client's Region.
    """
    graph = whole.__dask_graph__()
    layer_of = {key: name for name, layer in graph.layers.items() for key in layer}
    outputs = list(flatten(whole.__dask_keys__()))
    with _Sizes(layer_of) as seen:
        get(graph.to_dict(), outputs)
    layers = [*graph.layers, "client"]
    edges = [(u, v) for v, before in graph.dependencies.items() for u in before]
    edges += [(layer_of[outputs[0]], "client")]
    return _least(
        {n: seen.bytes[n] for n in layers}, edges, {**home, "client": client}, regions, price, client_computes
    )


def _least(
    size: Mapping[str, int],
    edges: list[tuple[str, str]],
    fixed: Mapping[str, str],
    regions: Sequence[str],
    price: Callable[[str, str], float],
    client_computes: bool,
) -> float:
    """Minimise the cost of sending each layer to each Region that needs it, over all assignments."""
    number = {name: i for i, name in enumerate(size)}
    width, n = len(regions), len(size)

    def at(name: str, r: int) -> int:
        """Number of the variable that says whether a layer is computed in a Region."""
        return number[name] * width + r

    def sent(name: str, s: int, r: int) -> int:
        """Number of the variable that says whether it is sent there from another."""
        return n * width + (number[name] * width + s) * width + r

    columns = n * width * (1 + width)
    rows = lil_array((n + len(edges) * width + n * width * width, columns))
    low, high = np.zeros(rows.shape[0]), np.full(rows.shape[0], np.inf)
    for i, name in enumerate(size):  # each layer is in one Region
        rows[i, [at(name, r) for r in range(width)]] = 1
        low[i] = high[i] = 1
    k = n
    for u, v in edges:  # what v needs in its Region is there or was sent there
        for r in range(width):
            rows[k, at(u, r)], rows[k, at(v, r)] = 1, -1
            for s in range(width):
                if s != r:
                    rows[k, sent(u, s, r)] = 1
            k += 1
    for name in size:  # and was sent from where it is
        for s in range(width):
            for r in range(width):
                rows[k, at(name, s)], rows[k, sent(name, s, r)] = 1, -1
                k += 1
    cost = np.zeros(columns)
    least, most = np.zeros(columns), np.ones(columns)
    for name, nbytes in size.items():
        for s, src in enumerate(regions):
            for r, dst in enumerate(regions):
                cost[sent(name, s, r)] = nbytes * price(src, dst)
        most[at(name, width - 1)] = name == "client" or client_computes
    for name, region in fixed.items():
        if name in number:
            least[at(name, list(regions).index(region))] = 1
    found = milp(
        cost,
        integrality=np.arange(columns) < n * width,
        bounds=Bounds(least, most),
        constraints=LinearConstraint(rows.tocsr(), low, high),
    )
    if not found.success:
        raise SystemExit(f"no smallest cut: {found.message}")
    return round(found.fun)
