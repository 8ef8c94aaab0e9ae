"""What the wall says of layers is what Dask makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.placement.dask_internals import graph_layers
from xdask_pipelines.placement.dask_internals.graph_layers import (
    Blockwise,
    HighLevelGraph,
    annotated,
    apply_function,
    block_inputs,
    blockwise,
    flatten,
    function_of,
    fuse_blocks,
    in_order,
    inputs_of,
    is_shuffle,
    keywords,
    reduction_step,
    size_in_memory,
    stated_array,
    submitted,
    with_optimizer,
)

ONES = da.ones((4, 6), chunks=(2, 3))


def layer(x: da.Array) -> Any:
    return x.dask.layers[x.name]


def test_submitted_is_optimised_by_the_function_of_with_optimizer() -> None:
    seen = []

    def optimize(graph: Any, keys: Any, **_: Any) -> Any:
        seen.append(keys)
        return graph

    arrays = [ONES + 1, xr.DataArray(ONES * 2), xr.Dataset({"a": ("x", da.ones(3))})]
    delayed = dask.delayed(len)([1])
    optimised = with_optimizer([*arrays, delayed], optimize)
    assert optimised[-1] is delayed
    graph = submitted(optimised)
    assert {key for x in [*arrays, delayed] for key in flatten(x.__dask_keys__())} <= set(graph)
    assert len(seen) == 1, "all arrays share a graph"
    kept = dask.persist(*optimised, scheduler="synchronous")
    assert [type(x) for x in kept] == [da.Array, xr.DataArray, xr.Dataset, type(delayed)]
    assert len(seen) == 2
    assert float(kept[0].sum()) == 48
    submitted(arrays)
    assert len(seen) == 2, "the collections themselves are as before"


def test_unpack_finds_collections_in_containers() -> None:
    collections, repack = graph_layers.unpack({"a": [ONES, 1]})
    assert [c.name for c in collections] == [ONES.name]
    assert repack([7]) == ({"a": [7, 1]},)


def test_in_order_names_inputs_first() -> None:
    x = (ONES + 1).sum()
    order = in_order(x.dask)
    assert set(order) == set(x.dask.layers)
    assert all(order.index(d) < order.index(name) for name in order for d in x.dask.dependencies[name])


def test_fuse_blocks_heeds_annotations() -> None:
    x = (ONES + 1) * 2
    assert len(fuse_blocks(x.dask, list(flatten(x.__dask_keys__()))).layers) == 1
    layers = {name: annotated(one, {"label": name}) for name, one in x.dask.layers.items()}
    apart = HighLevelGraph(layers, x.dask.dependencies)
    assert len(fuse_blocks(apart, list(flatten(x.__dask_keys__()))).layers) == 3


def test_annotated_copies_and_adds() -> None:
    with dask.annotate(priority=1):
        x = ONES + 1
    copied = annotated(layer(x), {"home": "east"})
    assert copied.annotations == {"priority": 1, "home": "east"}
    assert layer(x).annotations == {"priority": 1}


def test_block_inputs_gives_each_block_its_value() -> None:
    inputs = block_inputs({(0,): 10, (1,): 20}, [2])
    one = blockwise(lambda value: np.array([value]), "made", "i", inputs, "i", numblocks={})
    graph = HighLevelGraph.from_collections("made", one, dependencies=[])
    assert da.Array(graph, "made", chunks=((1, 1),), dtype=int).compute(scheduler="sync").tolist() == [10, 20]


def test_is_shuffle_of_a_rechunk_by_p2p_alone() -> None:
    with dask.config.set({"array.rechunk.method": "p2p"}):
        rechunked = da.ones((4, 4), chunks=(1, 4)).rechunk((4, 1))
    assert any(map(is_shuffle, rechunked.dask.layers.values()))
    assert not any(map(is_shuffle, ONES.rechunk((4, 6)).dask.layers.values()))


def test_stated_array_has_chunks_and_dtype() -> None:
    assert stated_array(layer(ONES + 1))["chunks"] == ONES.chunks
    assert stated_array(layer(ONES + 1))["dtype"] == ONES.dtype


def test_keywords_of_reductions_tell_axes() -> None:
    steps = [one for name, one in ONES.sum(axis=1).dask.layers.items() if name != ONES.name]
    first = next(one for one in steps if "keepdims" in keywords(one))
    assert keywords(first)["axis"] in (1, (1,))
    assert keywords(first)["keepdims"] is True
    assert keywords(layer(ONES.rechunk(4))) == {}


@pytest.mark.parametrize(
    ("reduce", "step"),
    [(lambda x: x.mean(), "mean"), (lambda x: x.std(), "moment"), (lambda x: x.var(0), "moment")],
)
def test_function_of_and_reduction_step_know_dictionaries_of_arrays(
    reduce: Callable[[da.Array], da.Array], step: str
) -> None:
    steps = {reduction_step(function_of(one)[0]) for one in reduce(ONES).dask.layers.values()}
    assert step in steps
    assert {reduction_step(function_of(one)[0]) for one in ONES.sum().dask.layers.values()} == {None}


def test_function_of_unwraps_partials() -> None:
    function, given = function_of(layer(ONES.map_blocks(np.clip, a_min=0, a_max=1, dtype=float)))
    assert function is not None
    assert function_of(layer(ONES.rechunk(4))) == (None, {})
    assert isinstance(given, dict)


def test_apply_function_runs_the_function_of_a_layer() -> None:
    one = layer(ONES + 1)
    assert isinstance(one, Blockwise)
    values = [np.zeros(2) if index is not None else argument for argument, index in one.indices]
    assert apply_function(one, values).tolist() == [1, 1]


def test_size_in_memory_is_that_of_arrays() -> None:
    assert size_in_memory(np.zeros(1000)) == 8000


def test_flatten_lists_keys() -> None:
    assert list(flatten([[("x", 0), ("x", 1)], ["y"]])) == [("x", 0), ("x", 1), "y"]


def test_inputs_of_a_layer_are_those_it_was_made_with() -> None:
    values = {(0, 0): "a", (0, 1): "b"}
    made = blockwise(str, "made", (0, 1), block_inputs(values, (1, 2)), (0, 1), numblocks={})
    assert inputs_of(made) == values
    assert inputs_of(layer(ONES + 1)) is None
    assert inputs_of(layer(ONES.sum())) is None
