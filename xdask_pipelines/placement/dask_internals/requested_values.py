"""What ``dask.compute`` asks a scheduler function for: expressions, taken apart into collections again.

Belongs here: the form of these expressions, and the scheduler that Dask would choose for them. Does not belong here: where
they are computed (client.self_placing).

``dask.compute`` adds a task to each collection that puts its blocks together. Such a task would run in one of the
Regions, to which all other blocks would cross; a collection is put together on the client.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dask._expr import HLGExpr, _HLGExprSequence
from dask._task_spec import List, TaskRef
from dask.array import Array
from dask.base import get_scheduler, named_schedulers
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.typing import Key
from distributed import Client, Future, get_client

_FINALIZE = "finalize-"


class RequestedValue:
    """A Dask collection with the graph, the keys and the last step of one that somebody computes."""

    def __init__(
        self, graph: Mapping[Key, Any], keys: list[Any], finish: Callable[..., Any], extra: tuple[Any, ...], other: Any
    ) -> None:
        self._graph, self._keys, self._finish, self._extra, self._other = graph, keys, finish, extra, other

    @property
    def __dask_optimize__(self) -> Any:
        # Of arrays it is the one that is configured when the value is computed, not when it was requested.
        return Array.__dask_optimize__ if self._other is None else self._other

    def __dask_graph__(self) -> Mapping[Key, Any]:
        return self._graph

    def __dask_keys__(self) -> list[Any]:
        return self._keys

    def __dask_tokenize__(self) -> Any:
        return self._keys

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._finish, self._extra

    def __dask_postpersist__(self) -> tuple[Callable[..., RequestedValue], tuple[Any, ...]]:
        return self._with_graph, ()

    def _with_graph(self, graph: Mapping[Key, Any], rename: Mapping[str, str] | None = None) -> RequestedValue:
        return RequestedValue(graph, self._keys, self._finish, self._extra, self._other)


def requested_values(expr: Any, keys: Sequence[Key]) -> list[RequestedValue] | None:
    """Take the expression apart that a scheduler function gets.

    Parameters
    ----------
    expr, keys
        Arguments of the scheduler function.

    Returns
    -------
    One collection for each key, without the task that puts its blocks together; None if the expression is not one of
    layers, such as that of a data frame.
    """
    parts = list(expr.operands) if isinstance(expr, _HLGExprSequence) else [expr]
    if not all(isinstance(part, HLGExpr) for part in parts):
        return None
    found: dict[Key, RequestedValue] = {}
    for part in parts:
        graph = part.hlg
        other = None if part.low_level_optimizer in (None, Array.__dask_optimize__) else part.low_level_optimizer
        last = {key: task for key in flatten(part.__dask_keys__()) if (task := _putting_together(graph, key))}
        left = _without(graph, last.keys()) if last else graph
        for key in flatten(part.__dask_keys__()):
            if task := last.get(key):
                blocks, *extra = task.args
                value = RequestedValue(left, _keys_in(blocks), task.func, tuple(extra), other)
            else:
                value = RequestedValue(left, [key], _first, (), other)
            found[key] = value
    return [found[key] for key in keys]


def _putting_together(graph: HighLevelGraph, key: Key) -> Any:
    """Return the task that puts the blocks of a collection together; None if the key is not of such a task."""
    layer = graph.layers.get(key) if isinstance(key, str) and key.startswith(_FINALIZE) else None
    task = layer[key] if layer is not None and len(layer) == 1 else None
    return task if task is not None and task.args and isinstance(task.args[0], List) else None


def _without(graph: HighLevelGraph, names: Any) -> HighLevelGraph:
    layers = {name: layer for name, layer in graph.layers.items() if name not in names}
    return HighLevelGraph(layers, {name: set(graph.dependencies[name]) - set(names) for name in layers})


def _keys_in(blocks: Any) -> list[Any]:
    return [block.key if isinstance(block, TaskRef) else _keys_in(block) for block in blocks.args]


def _first(values: Sequence[Any]) -> Any:
    return values[0]


def writes_to_stores(x: Any) -> bool:
    """Return whether computing a collection writes into files or arrays of this process (``dask.array.store``)."""
    graph = x.__dask_graph__()
    return any(str(name).startswith("store-map-") for name in getattr(graph, "layers", graph))


def clients_of(x: Any) -> set[str]:
    """Return the identifiers of the clients that hold results on which a collection builds (``persist``)."""
    graph = x.__dask_graph__()
    layers = getattr(graph, "layers", {"": MaterializedLayer(graph)}).values()
    tables = [layer.mapping for layer in layers if isinstance(layer, MaterializedLayer)]
    held = (task.value if hasattr(task, "value") else task for table in tables for task in table.values())
    return {future.client.id for future in held if isinstance(future, Future)}


def usual_scheduler(before: Any, optimizers: Sequence[Any] = ()) -> Any:
    """Return the scheduler function that Dask chooses where no scheduler is configured but ``before``.

    Parameters
    ----------
    before
        The configured scheduler; None if there is none.
    optimizers
        Optimizer of each collection, by which bags are recognised: they have another default than all others.

    Raises
    ------
    ValueError
        If collections have different defaults.
    """
    if before is not None:
        return get_scheduler(scheduler=before)
    try:
        return get_scheduler(scheduler=get_client())
    except ValueError:  # no client
        pass
    bag = sys.modules.get("dask.bag")
    of_bags = [bag is not None and optimizer is bag.Bag.__dask_optimize__ for optimizer in optimizers]
    if any(of_bags) and not all(of_bags):
        raise ValueError(
            "Compute called on multiple collections with differing default schedulers. Please specify a scheduler= "
            "parameter explicitly in compute or globally with `dask.config.set`."
        )
    return named_schedulers["processes" if any(of_bags) else "threads"]


def optimizers_of(expr: Any) -> list[Any]:
    """Return the optimizer of each collection in an expression; None for collections that have none."""
    parts = list(expr.operands) if isinstance(expr, _HLGExprSequence) else [expr]
    return [part.low_level_optimizer if isinstance(part, HLGExpr) else None for part in parts]


def client_behind(before: Any) -> Client | None:
    """Return the client that would compute if no scheduler were configured but ``before``; None without a client."""
    method = usual_scheduler(before)
    owner = getattr(method, "__self__", None)
    return owner if isinstance(owner, Client) else None
