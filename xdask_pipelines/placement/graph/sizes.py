"""Predicted sizes of the results of tasks, from a graph before it runs.

Belongs here: sizes in memory, and the stored bytes that leaves will read. Does not belong here: where tasks run
(placement_rules).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import repeat
from math import isnan, prod
from typing import Any

import numpy as np
from dask.typing import Key

from xdask_pipelines.placement.dask_internals.graph_layers import (
    HighLevelGraph,
    Layer,
    function_of,
    keywords,
    reduction_step,
    size_in_memory,
    stated_array,
)
from xdask_pipelines.placement.dask_internals.task_specs import DataNode, GraphNode
from xdask_pipelines.placement.graph.cut_blocks import Block, cut_bytes
from xdask_pipelines.placement.graph.homes import nested
from xdask_pipelines.placement.graph.true_dtypes import true_dtypes

#: Keys of the dictionaries that some reductions pass on: means have totals and counts, moments also sums of squares.
_MEAN, _MOMENT = ("n", "total"), ("n", "total", "M")


def _empty(names: Sequence[str]) -> int:
    """Return the bytes of a dictionary without its values, which matter for small blocks."""
    return size_in_memory(dict.fromkeys(names, 0)) - len(names) * size_in_memory(0)


#: How many arrays of the layer's dtype a block has, further bytes for each element, and further bytes for each block.
#: The counts of moments are integers of 8 bytes.
_ARRAY = (1, 0, 0)
_TWO, _THREE = (2, 0, _empty(_MEAN)), (2, 8, _empty(_MOMENT))
_COMBINED = {"mean_combine-partial": _TWO, "moment_combine-partial": _THREE, "var-partial": _THREE}

#: Name of the layer of one output of `apply_gufunc`.
_OUTPUT = re.compile(r"([^-]+)_(\d+)-([0-9a-f]+)")
#: Overhead of a NumPy scalar, the result of a reduction over all dimensions.
_SCALAR_BYTES = 24
Chunks = tuple[tuple[float, ...], ...]
Chunked = tuple[Chunks, np.dtype[Any]]


class Sizes:
    """Sizes of the blocks of each array that a graph's layers represent.

    Parameters
    ----------
    graphs
        Graphs of the collections before optimisation, while layers still have the chunks of their arrays.
    """

    def __init__(self, graphs: Sequence[Any]) -> None:
        known = [g for g in graphs if isinstance(g, HighLevelGraph)]
        layers = {n: layer for g in known for n, layer in g.layers.items()}
        self._known = {name: found for name, layer in layers.items() if (found := _chunks_and_dtype(layer))}
        self._arrays = {name: _arrays_a_block(name, layer) for name, layer in layers.items()}
        outputs = _outputs_of_gufuncs(self._known)
        stated = {name: dtype for name, (_, dtype) in self._known.items()}
        needs = {n: d for g in known for n, d in g.dependencies.items()}
        for name, dtype in true_dtypes(layers, needs, stated, outputs).items():
            self._known[name] = (self._known[name][0], dtype)
        self._outputs = {whole: [self._known[name] for name in names] for whole, names in outputs.items()}

    def of(self, key: Key, spec: GraphNode) -> int | None:
        """Return the bytes of a task's result; None if unknown."""
        nbytes = self.of_key(key)
        if nbytes is None:
            nbytes = cut_bytes(spec, self._block)
        if nbytes is None:
            # A fused task keeps the key of its last task, which may be a helper that no array describes.
            inner = [n for name, _ in nested(spec) if (n := self.of_key(name)) is not None]
            nbytes = inner[0] if inner else None
        return nbytes

    def of_key(self, key: Key) -> int | None:
        """Return the bytes of the block with this key; None if unknown."""
        if not isinstance(key, tuple) or key[0] not in self._known:
            return None
        name, index = str(key[0]), key[1:]
        if outputs := self._outputs.get(name):
            made = [_block_bytes(c, dtype, (*index, *repeat(0, len(c) - len(index)))) for c, dtype in outputs]
            return None if None in made else sum(n for n in made if n is not None)
        chunks, dtype = self._known[name]
        nbytes = _block_bytes(chunks, dtype, index)
        if nbytes is None:
            return None
        return nbytes * self._itemsize(name, dtype) // dtype.itemsize + self._arrays.get(name, _ARRAY)[2]

    def blocks(self, name: str) -> np.ndarray | None:
        """Return the bytes of each block of a layer, in the shape of its blocks; None if unknown."""
        if outputs := self._outputs.get(name):
            made = [_all_bytes(chunks, dtype.itemsize) for chunks, dtype in outputs]
            ndim = len(self._known[name][0])
            sizes = [m.reshape(*m.shape[:ndim], -1).sum(axis=-1) for m in made if m is not None]
            return np.sum(sizes, axis=0) if len(sizes) == len(made) else None
        if name not in self._known:
            return None
        chunks, dtype = self._known[name]
        nbytes = _all_bytes(chunks, self._itemsize(name, dtype))
        return None if nbytes is None else nbytes + self._arrays.get(name, _ARRAY)[2]

    def _block(self, key: Key) -> Block | None:
        """Return the shape and dtype of a block that is one array."""
        if not isinstance(key, tuple) or key[0] not in self._known or self._arrays.get(str(key[0]), _ARRAY) != _ARRAY:
            return None
        chunks, dtype = self._known[str(key[0])]
        try:
            lengths = [axis[int(i)] for axis, i in zip(chunks, key[1:], strict=True)]  # type: ignore[arg-type]
        except (IndexError, TypeError, ValueError):
            return None
        return None if any(map(isnan, lengths)) else (tuple(map(int, lengths)), dtype)

    def _itemsize(self, name: str, dtype: np.dtype[Any]) -> int:
        """Return the bytes of one element of all arrays in a block of a layer."""
        arrays, more, _ = self._arrays.get(name, _ARRAY)
        return int(arrays * dtype.itemsize) + int(more)


def _outputs_of_gufuncs(known: Mapping[str, Chunked]) -> dict[str, list[str]]:
    """Return the layers that compute several outputs of `apply_gufunc`, each with the layers of its outputs.

    The computing layer states only the chunks of the loop dimensions, but its blocks also hold the core dimensions of
    all outputs. Each output is a separate layer: ``name_0-token`` belongs to ``name-token``.
    """
    outputs: dict[str, dict[int, str]] = {}
    for name in known:
        match = _OUTPUT.fullmatch(name)
        whole = f"{match[1]}-{match[3]}" if match else ""
        if match and whole in known and len(known[whole][0]) <= len(known[name][0]):
            outputs.setdefault(whole, {})[int(match[2])] = name
    # If an output is not used, its size is unknown.
    return {w: [n[i] for i in range(len(n))] for w, n in outputs.items() if set(n) == set(range(len(n)))}


def _arrays_a_block(name: str, layer: Layer) -> tuple[int, int, int]:
    """Return how many arrays of the layer's dtype a block has, and further bytes for each element and each block."""
    function, given = function_of(layer)
    step = reduction_step(function)
    if step == "mean":
        # The counts of a full block are one number, repeated without memory; counts of values that are not NaN are an
        # array.
        return _TWO if "numel" in given else (1, 0, _TWO[2])
    if step == "moment":
        return _THREE
    return next((found for prefix, found in _COMBINED.items() if name.startswith(prefix)), _ARRAY)


def _all_bytes(chunks: Chunks, itemsize: int) -> np.ndarray | None:
    """Return the bytes of each block of an array."""
    nbytes = np.array(float(itemsize))
    for axis in chunks:
        nbytes = np.multiply.outer(nbytes, np.array(axis, float))
    return None if np.isnan(nbytes).any() else nbytes


def _block_bytes(chunks: Chunks, dtype: np.dtype[Any], index: Sequence[Any]) -> int | None:
    if len(index) != len(chunks):
        return None
    try:
        lengths = [axis[int(i)] for axis, i in zip(chunks, index, strict=True)]
    except IndexError:
        return None
    return None if any(map(isnan, lengths)) else int(prod(lengths) * dtype.itemsize) + (0 if lengths else _SCALAR_BYTES)


def _chunks_and_dtype(layer: Layer) -> Chunked | None:
    about = stated_array(layer)
    if "chunks" not in about or about.get("dtype") is None:
        return None
    chunks, kwargs = about["chunks"], keywords(layer)
    if kwargs.get("keepdims"):
        # In the first step of a reduction Dask states the chunks of the input; it corrects them later, in the array
        # only.
        axes = kwargs.get("axis")
        reduced: Collection[int] = range(len(chunks)) if axes is None else [axes] if isinstance(axes, int) else axes
        chunks = tuple(tuple(repeat(1, len(c))) if i in reduced else c for i, c in enumerate(chunks))
    return chunks, np.dtype(about["dtype"])


def stored_bytes(spec: GraphNode) -> int | None:
    """Return the stored bytes that the leaves inside a task will read; None if it has no leaves."""
    stored = [
        value.stored_bytes
        for _, node in nested(spec)
        if isinstance(node, DataNode) and hasattr(value := node.value, "stored_bytes")
    ]
    return sum(stored) if stored else None


def estimated(
    order: Sequence[Key], tasks: Mapping[Key, GraphNode], sizes: Sizes, users: Mapping[Key, Collection[Key]]
) -> tuple[dict[Key, int], list[Key]]:
    """Estimate the bytes of every task's result, and return the keys whose size had to be guessed.

    An unknown size is taken to be that of the task's inputs, each divided evenly among its users, as when a block is
    split; without inputs it is 0.
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
