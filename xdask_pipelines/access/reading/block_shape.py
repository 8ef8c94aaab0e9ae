"""Shapes of the parts in which a variable is read: whole stored chunks, up to a size in memory.

Belongs here: arithmetic on shapes. Does not belong here: building arrays (open, column_sums).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def extended(block: Sequence[int], shape: Sequence[int], itemsize: int, nbytes: int) -> tuple[int, ...]:
    """Return a multiple of a block, extended from the last dimension backwards while it has at most ``nbytes``.

    A block that has more is returned as it is, within the shape.

    Examples
    --------
    >>> extended((24, 100, 100), (744, 721, 1440), itemsize=4, nbytes=64_000_000)
    (24, 400, 1440)
    """
    found = list(block)
    for axis in reversed(range(len(shape))):
        others = itemsize * int(np.prod([b for i, b in enumerate(found) if i != axis]))
        fits = max(1, nbytes // max(1, others) // found[axis])
        found[axis] = min(shape[axis], found[axis] * fits)
        if found[axis] < shape[axis]:
            break
    return tuple(found)


def spans_of(shape: Sequence[int], block: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Return start and stop of each block along each dimension.

    Examples
    --------
    >>> spans_of((5,), (2,))
    [[(0, 2), (2, 4), (4, 5)]]
    """
    return [[(a, min(a + b, n)) for a in range(0, n, b)] if n else [(0, 0)] for n, b in zip(shape, block, strict=True)]
