"""HDF5's byte shuffle is undone, whatever the size of values and chunks, with and without Numba."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines.access.reading.byte_shuffle import Unshuffler, _join_four
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
@given(st.integers(1, 3_000), st.sampled_from([1, 2, 3, 4, 8, 16]), st.integers(0, 2**32))
def test_bytes_return_to_their_values(count: int, itemsize: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (count, itemsize)).astype("u1")
    undo = Unshuffler(count, itemsize)
    assert np.array_equal(undo(values.T.tobytes()), values)
    assert np.array_equal(undo(bytearray(values[::-1].T.tobytes())), values[::-1]), "memory is used again"


def test_the_loop_that_numba_compiles_is_right_by_itself() -> None:
    words = np.array([0, 1, 0x01020304, 0xFFFFFFFF], "<u4")
    found = np.empty_like(words)
    _join_four(np.ascontiguousarray(words.view("u1").reshape(-1, 4).T), found)
    assert np.array_equal(found, words)


def test_a_chunk_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="39 bytes instead of 40"):
        Unshuffler(10, 4)(bytes(39))
