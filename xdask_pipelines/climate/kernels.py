"""Applying NumPy kernels to fields in memory or as Dask arrays, with as few tasks as possible.

Belongs here: ways to apply a kernel. Does not belong here: the kernels. Nothing here computes a Dask array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

Kernel = Callable[..., NDArray[Any]]

# At 80 ms between Regions each level of a graph costs 0.09 s; 32 inputs a task make one level of a month.
SPLIT_EVERY = 32


class SumsWhileReading(Protocol):
    """Sums of a kernel's results that the tasks that read an array compute, so that its values leave no task."""

    def __call__(self, array: da.Array, kernel: Kernel, added: tuple[int, ...], dtype: DTypeLike) -> da.Array | None:
        """Return the partial sums along the first axis, in order, as an array of shape (parts, *added, *other sizes).

        None if the array is not the result of reading alone. A part sums what ``kernel`` returns for each block along the
        first axis in the way of ``array.sum(axis=0, split_every=SPLIT_EVERY)``, so that results have the same bits.
        """


_sums_while_reading: SumsWhileReading = lambda array, kernel, added, dtype: None  # noqa: E731


def sum_while_reading_by(function: SumsWhileReading) -> None:
    """Set how `sum_over` lets tasks that read data sum them."""
    global _sums_while_reading
    _sums_while_reading = function


@dataclass(frozen=True)
class _Moved:
    """A kernel that gets two given axes last; with ``back`` they are moved back in the result."""

    kernel: Kernel
    axes: tuple[int, int]
    back: bool

    def __call__(self, *blocks: NDArray[Any]) -> NDArray[Any]:
        result = self.kernel(*(np.moveaxis(block, self.axes, (-2, -1)) for block in blocks))
        return np.moveaxis(result, (-2, -1), self.axes) if self.back else result


def map_fields(
    kernel: Kernel,
    field: xr.DataArray,
    horizontal: tuple[str, str],
    *,
    label: str,
    dtype: DTypeLike,
    shape: tuple[int, int] | None = None,
    new: Mapping[str, int] | None = None,
) -> xr.Variable:
    """Apply a kernel to whole horizontal fields: one task for each chunk of the other dimensions.

    Parameters
    ----------
    kernel
        Takes (..., ny, nx); returns (..., *shape), or (...,) followed by the sizes of ``new``.
    field
        Several horizontal chunks are merged first.
    horizontal
        Names of the latitude and longitude dimensions, at any position.
    label
        Prefix of the tasks' names.
    shape
        New sizes of the two dimensions, which keep names and positions; None replaces them by ``new``.
    new
        Dimensions that replace the horizontal ones, with their sizes; none by default.
    """
    axes = (field.get_axis_num(horizontal[0]), field.get_axis_num(horizontal[1]))
    moved = _Moved(kernel, axes, back=shape is not None)
    kept = tuple(dim for dim in field.dims if dim not in horizontal)
    dims = field.dims if shape is not None else (*kept, *(new or {}))
    if field.chunks is None:
        return xr.Variable(dims, moved(field.values))
    whole = field.chunk({horizontal[0]: -1, horizontal[1]: -1}).data
    result = da.blockwise(
        moved,
        dims,
        whole,
        field.dims,
        dtype=dtype,
        meta=np.empty((0,) * len(dims), dtype=dtype),
        adjust_chunks={name: (size,) for name, size in zip(horizontal, shape, strict=True)} if shape else None,
        new_axes=dict(new or {}) if shape is None else {},
        concatenate=True,
        align_arrays=False,
        token=label,
    )
    return xr.Variable(dims, result)


def sum_over(
    kernel: Kernel,
    field: xr.DataArray,
    dim: str,
    *,
    label: str,
    dtype: DTypeLike,
    new: Mapping[str, int] | None = None,
) -> xr.Variable:
    """Sum the results of a kernel for each block along one dimension.

    The other dimensions keep their chunks; or get those of the tasks that read the field, if these sum what they read.

    Parameters
    ----------
    kernel
        Takes a block with ``dim`` first, and the slice of ``dim`` that it covers; returns an array with the sizes of
        ``new`` followed by the block's other sizes.
    new
        Dimensions that the kernel adds in front, with their sizes; none by default.
    """
    field = field.transpose(dim, ...)
    added = dict(new or {})
    dims = (*added, *field.dims[1:])
    if field.chunks is None:
        return xr.Variable(dims, kernel(field.values, slice(0, field.sizes[dim])))
    partial = _sums_while_reading(field.data, kernel, tuple(added.values()), dtype)
    if partial is None:
        partial = _sums_of_blocks(field, kernel, label, dtype, added)
    return xr.Variable(dims, partial.sum(axis=0, dtype=dtype, split_every=SPLIT_EVERY))


def _sums_of_blocks(
    field: xr.DataArray, kernel: Kernel, label: str, dtype: DTypeLike, added: Mapping[str, int]
) -> da.Array:
    lengths, *others = field.chunks or ()
    partial: da.Array = da.map_blocks(
        _Block(kernel, tuple(int(end) for end in np.cumsum((0, *lengths)))),
        field.data,
        dtype=dtype,
        meta=np.empty((0,) * (field.ndim + len(added)), dtype=dtype),
        chunks=((1,) * len(lengths), *((size,) for size in added.values()), *others),
        new_axis=list(range(1, len(added) + 1)) or None,
        token=label,
    )
    return partial


@dataclass(frozen=True)
class _Block:
    """A kernel that gets the slice of its block, and whose result gets a first axis of length 1."""

    kernel: Kernel
    edges: tuple[int, ...]

    def __call__(self, block: NDArray[Any], block_id: tuple[int, ...]) -> NDArray[Any]:
        start, stop = self.edges[block_id[0]], self.edges[block_id[0] + 1]
        return self.kernel(block, slice(start, stop))[None]


def elementwise(kernel: Kernel, *arrays: xr.DataArray, label: str, dtype: DTypeLike) -> xr.Variable:
    """Apply a kernel to arrays of one shape, one task for each block; coordinates are ignored."""
    dims = arrays[0].dims
    data = [array.transpose(*dims).data for array in arrays]
    if not any(isinstance(each, da.Array) for each in data):
        return xr.Variable(dims, kernel(*data))
    arguments = [part for each in data for part in (each, dims)]
    return xr.Variable(dims, da.blockwise(kernel, dims, *arguments, dtype=dtype, token=label))


def add(*arrays: xr.DataArray, label: str) -> xr.DataArray:
    """Sum arrays of one shape, at most ``SPLIT_EVERY`` in each task; coordinates are those of the first."""
    if len(arrays) == 1:
        return arrays[0]
    groups = [arrays[i : i + SPLIT_EVERY] for i in range(0, len(arrays), SPLIT_EVERY)]
    sums = [elementwise(_sum, *group, label=label, dtype=arrays[0].dtype) for group in groups]
    return add(*(arrays[0].copy(data=each.data) for each in sums), label=label)


def _sum(*blocks: NDArray[Any]) -> NDArray[Any]:
    total = blocks[0].copy()
    for block in blocks[1:]:
        total += block
    return total


def along(kernel: Kernel, field: xr.DataArray, dim: str, *, label: str, new: Mapping[str, int]) -> xr.Variable:
    """Apply a kernel to whole series along one dimension: one task for each chunk of the other dimensions.

    Parameters
    ----------
    kernel
        Takes (..., n); returns (..., *sizes of ``new``) in float64.
    new
        Dimensions that replace ``dim``, at the end.
    """
    field = field.transpose(..., dim)
    kept = field.dims[:-1]
    dims = (*kept, *new)
    if field.chunks is None:
        return xr.Variable(dims, kernel(field.values))
    result = da.blockwise(
        kernel,
        dims,
        field.chunk({dim: -1}).data,
        field.dims,
        dtype=np.float64,
        meta=np.empty((0,) * len(dims)),
        new_axes=dict(new),
        concatenate=True,
        align_arrays=False,
        token=label,
    )
    return xr.Variable(dims, result)
