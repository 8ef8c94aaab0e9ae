"""Compression of tasks: each task repeats names of keys and functions, and is sent over a WAN to its worker.

Belongs here: compressing pickled tasks, and pickling fused tasks. Does not belong here: fusing (fence), messages to
workers (task_messages). Dask's own compression does not cover task specifications.
"""

from __future__ import annotations

import lzma
import zlib
from typing import Any

from xdask_pipelines.placement.dask_internals.task_specs import (
    GraphNode,
    Task,
    TaskRef,
    fuse,
    is_fused,
    may_be_fused,
    state_of,
    with_state,
)
from xdask_pipelines.placement.dask_internals.wire import dumps, loads

#: Words that are in nearly every pickled task: zlib replaces them by references to this dictionary.
_WORDS = (
    b"xdask_pipelines.access.reading.read_block\x8c\x0aread_block\x93numpy\x8c\x05dtype\x93functools\x8c\x07partial\x93axis\x8c\x08keepdims"
    b"\x8c\x05dtype__dask_blockwise__2__dask_blockwise__1\x8c\x13__dask_blockwise__0\x8c\x09_operator\x8c\x03add\x93\x8c\x03mul"
    b"\x8c\x03sub\x8c\x07truediv\x8c\x15dask.array.reductions\x8c\x0dmean_combine\x93\x8c\x08mean_agg\x8c\x0amean_chunk"
    b"\x8c\x0edask.array.core\x8c\x0cconcatenate3\x93\x8c\x10dask.array.chunk\x8c\x07getitem\x93\x8c\x08builtins\x8c\x05slice\x93"
    b"\x8c\x08DataNode\x93\x8c\x05Alias\x93\x8c\x04List\x93\x8c\x11_execute_subgraph\x93NNN\x8c\x0fdask._task_spec\x8c\x07TaskRef"
    b"\x93\x85R\x8c\x0fdask._task_spec\x8c\x04Task\x93)\x81(\x89(\x91NNN"
)


#: Size from which lzma is used: it is slower, but finds repetitions that are far apart, and saves another quarter.
_LONG = 16_384
_LZMA: list[dict[str, int]] = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


class Fused(Task):
    """A task that was fused from several. It is sent compressed, and is unpickled as an ordinary task.

    Attributes
    ----------
    marks
        The result of `homes.marks`, kept from the fusion so that it is not computed again.
    region
        Region that the assignment chose for it, if that differs from the home of its data; None for most tasks.
    """

    __slots__ = ("marks", "region")
    marks: tuple[frozenset[str], frozenset[str]] | None
    region: str | None

    def __reduce__(self) -> tuple[Any, ...]:
        buffers: list[Any] = []
        state = dumps(state_of(self), buffer_callback=buffers.append)
        return _arrived, (*compressed(state), buffers)


def compressed(pickled: bytes) -> tuple[bytes, bool]:
    """Compress a pickled task, and return it with a flag for `decompressed`: whether it was long."""
    if len(pickled) > _LONG:
        return lzma.compress(pickled, lzma.FORMAT_RAW, filters=_LZMA), True
    packer = zlib.compressobj(wbits=-15, zdict=_WORDS)
    return packer.compress(pickled) + packer.flush(), False


def decompressed(data: bytes, long: bool) -> bytes:
    """Decompress a pickled task."""
    if long:
        return lzma.decompress(data, lzma.FORMAT_RAW, filters=_LZMA)
    return zlib.decompressobj(wbits=-15, zdict=_WORDS).decompress(data)


def plain(task: Any) -> Any:
    """Return a fused task as an ordinary one, for a caller that compresses it; return anything else unchanged."""
    return with_state(Task, state_of(task)) if type(task) is Fused else task


def compact(
    task: GraphNode, marks: tuple[frozenset[str], frozenset[str]] | None = None, region: str | None = None
) -> GraphNode:
    """Return the task as a `Fused` one if it was fused from several, with its marks and its Region if they are known."""
    if not may_be_fused(task):
        return task  # P2P shuffles look for their barrier by its type; the Regions of its users decide where its output goes
    if region is not None and type(task) is not Task:
        task = fuse([task, Task("same", _same, TaskRef(task.key))], task.key)
    if type(task) is not Task or (not is_fused(task) and region is None):
        return task
    fused = with_state(Fused, state_of(task))
    fused.marks = marks
    fused.region = region
    return fused


def _same(x: Any) -> Any:
    return x


def _arrived(data: bytes, long: bool, buffers: list[Any]) -> Task:
    return with_state(Task, loads(decompressed(data, long), buffers=buffers))
