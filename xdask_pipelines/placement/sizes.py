"""How large results of tasks will be, told from a graph before it runs.

Belongs here: sizes in memory, and stored bytes that leaves will read. Does not belong here: where tasks run (decide).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import repeat
from math import isnan, prod
from typing import Any

import numpy as np
from dask._task_spec import DataNode, GraphNode
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph, Layer
from dask.typing import Key

from xdask_pipelines.placement.homes import nested

#: Blocks of these layers are dictionaries of arrays: counts and totals, and for moments sums of squares too.
_ARRAYS_A_BLOCK = {"mean_chunk": 2, "mean_combine": 2, "moment_chunk": 3, "moment_combine": 3}


def human_bytes(nbytes: float) -> str:
    """Bytes for people, in decimal units: ``7.7 MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 999.5 or unit == "TB":
            break
        nbytes /= 1000
    return f"{nbytes:.0f} {unit}" if unit == "B" or nbytes >= 99.5 else f"{nbytes:.1f} {unit}"


class Sizes:
    """Bytes of each block of the arrays that a graph's layers stand for.

    Parameters
    ----------
    graphs
        Of the collections, before optimisation: layers know the chunks of their arrays then.
    """

    def __init__(self, graphs: Sequence[Any]) -> None:
        layers = {n: layer for g in graphs if isinstance(g, HighLevelGraph) for n, layer in g.layers.items()}
        self._known = {name: found for name, layer in layers.items() if (found := _chunks_and_itemsize(name, layer))}

    def of(self, key: Key, spec: GraphNode) -> int | None:
        """Bytes of a task's result; None if nothing tells."""
        found = self.of_key(key)
        if found is None:
            # A fused task keeps the key of its last link, which may be a helper that no array stands for.
            inner = [n for name, _ in nested(spec) if (n := self.of_key(name)) is not None]
            found = inner[0] if inner else None
        return found

    def of_key(self, key: Key) -> int | None:
        """Bytes of the block that a key stands for; None if nothing tells."""
        if not isinstance(key, tuple) or key[0] not in self._known:
            return None
        chunks, itemsize = self._known[str(key[0])]
        index = key[1:]
        if len(index) != len(chunks):
            return None
        try:
            lengths = [axis[int(i)] for axis, i in zip(chunks, index, strict=True)]  # type: ignore[arg-type]
        except IndexError:
            return None
        return None if any(map(isnan, lengths)) else int(prod(lengths) * itemsize)


def _chunks_and_itemsize(name: str, layer: Layer) -> tuple[tuple[tuple[float, ...], ...], int] | None:
    about = layer.collection_annotations or {}
    if "chunks" not in about or about.get("dtype") is None:
        return None
    chunks, kwargs = about["chunks"], getattr(layer.task, "kwargs", {}) if isinstance(layer, Blockwise) else {}
    if kwargs.get("keepdims"):
        # First step of a reduction: Dask notes the chunks of its input, and mends them afterwards out of our sight.
        axes = kwargs.get("axis")
        reduced: Collection[int] = range(len(chunks)) if axes is None else [axes] if isinstance(axes, int) else axes
        chunks = tuple(tuple(repeat(1, len(c))) if i in reduced else c for i, c in enumerate(chunks))
    arrays = next((n for prefix, n in _ARRAYS_A_BLOCK.items() if name.startswith(prefix)), 1)
    return chunks, np.dtype(about["dtype"]).itemsize * arrays


def stored_bytes(spec: GraphNode) -> int | None:
    """Stored bytes that the leaves inside a task will read; None if it has none."""
    told = [
        value.stored_bytes
        for _, node in nested(spec)
        if isinstance(node, DataNode) and hasattr(value := node.value, "stored_bytes")
    ]
    return sum(told) if told else None


def estimated(
    order: Sequence[Key], tasks: Mapping[Key, GraphNode], sizes: Sizes, users: Mapping[Key, Collection[Key]]
) -> tuple[dict[Key, int], list[Key]]:
    """Bytes of every task's result, and the keys whose size had to be guessed.

    A size that nothing tells is taken to be that of the task's inputs, each shared evenly by its users, as where a
    block is split; without inputs it is 0.
    """
    nbytes: dict[Key, int] = {}
    guessed = []
    for key in order:
        known = sizes.of(key, tasks[key])
        if known is None:
            guessed.append(key)
            inputs = [d for d in tasks[key].dependencies if d in nbytes]
            known = sum(nbytes[d] // max(1, len(users[d])) for d in inputs)
        nbytes[key] = known
    return nbytes, guessed
