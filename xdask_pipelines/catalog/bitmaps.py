"""Sets of entries as bits: which entries have a term, and what they have in common.

Belongs here: packing sets of row numbers into blobs of one block each, and arithmetic on them. Does not belong here:
what a term is, or SQL. With 1M entries any mix of filters and facets costs a few ANDs of 125 kB, where lists
of (term, entry) rows would have to be walked in step with the number of matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK_BITS = 1 << 16  # rows a block: a commit that adds one entry rewrites at most 8 kB a term
_BLOCK_BYTES = BLOCK_BITS // 8
_BLOCK_WORDS = _BLOCK_BYTES // 8
_FEW = 1024  # offsets a block that are kept as such: setting more of them one by one is slower than 8 kB of bits

Bits = NDArray[np.uint64]
_BIT = np.left_shift(1, np.arange(8)).astype(np.uint8)


def edit(blob: bytes | None, put: Sequence[int], drop: Sequence[int]) -> bytes | None:
    """The blob of one block with offsets added, then others taken away; None when nothing is left.

    A blob is either the sorted offsets themselves, two bytes each, or all bits of the block.
    """
    bits = union([] if blob is None else [(0, blob)], 1)
    octets = bits.view(np.uint8)
    added, dropped = np.array(put, np.uint16), np.array(drop, np.uint16)
    np.bitwise_or.at(octets, added >> 3, _BIT[added & 7])
    np.bitwise_and.at(octets, dropped >> 3, ~_BIT[dropped & 7])
    held = count(bits)
    if held == 0:
        return None
    return bits.tobytes() if held > _FEW else np.array(rows(bits), "<u2").tobytes()


def union(blobs: Iterable[tuple[int, bytes]], blocks: int) -> Bits:
    """Bits of all (block number, blob) together, with room for so many blocks."""
    bits = np.zeros(blocks * _BLOCK_WORDS, np.uint64)
    octets = bits.view(np.uint8)
    for block, blob in blobs:
        if len(blob) == _BLOCK_BYTES:
            bits[block * _BLOCK_WORDS : (block + 1) * _BLOCK_WORDS] |= np.frombuffer(blob, np.uint64)
        else:
            offsets = np.frombuffer(blob, "<u2")
            part = octets[block * _BLOCK_BYTES : (block + 1) * _BLOCK_BYTES]
            np.bitwise_or.at(part, offsets >> 3, _BIT[offsets & 7])
    return bits


def overlap(bits: Bits, block: int, blob: bytes) -> int:
    """How many rows of a block are both in ``bits`` and in the blob."""
    part = bits[block * _BLOCK_WORDS : (block + 1) * _BLOCK_WORDS]
    if len(blob) == _BLOCK_BYTES:
        return count(part & np.frombuffer(blob, np.uint64))
    offsets = np.frombuffer(blob, "<u2")
    return int(np.count_nonzero(part.view(np.uint8)[offsets >> 3] & _BIT[offsets & 7]))


def count(bits: Bits) -> int:
    """How many rows are in the set."""
    return int(np.bitwise_count(bits).sum())


def rows(bits: Bits) -> list[int]:
    """Row numbers in the set, ascending."""
    at = np.flatnonzero(bits)
    flags = np.unpackbits(bits[at].view(np.uint8), bitorder="little").reshape(-1, 64)
    word, bit = np.nonzero(flags)
    numbers: list[int] = (at[word] * 64 + bit).tolist()
    return numbers
