"""Sums over steps have the same bits with and without Numba, and wherever the values lie in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines.climate.step_sums import _add_steps, sum_of_steps
from xdask_pipelines.system.compiled import compiled


@pytest.fixture(params=["as installed", "without Numba"], scope="module", autouse=True)
def numba(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hide Numba, if it is installed."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "without Numba":
            patch.setitem(sys.modules, "numba", None)
        compiled.cache_clear()
        yield
    compiled.cache_clear()


@settings(deadline=None)  # the first example compiles
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from(["f4", "f8", "i2", ">f4"]),
    st.permutations([0, 1, 2]),
    st.integers(0, 2**32),
)
def test_steps_are_added_in_order(shape: tuple[int, ...], dtype: str, order: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    values = (random.normal(0, 1, shape) * 10.0 ** random.integers(-3, 4, shape)).astype(dtype)
    block = np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))
    expected = np.zeros(shape[1:])
    for step in block:
        expected += step
    assert sum_of_steps(block).tobytes() == expected.tobytes()
    total = np.zeros(shape[1:])
    _add_steps(block, total)
    assert total.tobytes() == expected.tobytes()


def test_blocks_of_one_and_two_dimensions_are_summed() -> None:
    assert sum_of_steps(np.arange(5, dtype="f4")).tolist() == 10.0
    assert sum_of_steps(np.ones((9, 2))).tolist() == [9.0, 9.0]
