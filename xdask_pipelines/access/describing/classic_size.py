"""The required size of a netCDF classic file: the library silently reads zeros from a truncated file.

Belongs here: computing the size from the header. Does not belong here: reading anything else (classic).
"""

from __future__ import annotations

from math import prod
from typing import BinaryIO

_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}  # by nc_type
_STREAMING = 2**32 - 1


def needed_bytes(file: BinaryIO) -> int:
    """Return the smallest size in bytes of a complete file.

    Source: the netCDF Classic Format Specification, https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html

    Raises
    ------
    OSError
        If the header itself is truncated.
    """
    version = _exactly(file, 4)[3]
    wide = 8 if version == 5 else 4

    def number(size: int = wide) -> int:
        return int.from_bytes(_exactly(file, size))

    def name() -> None:
        _exactly(file, _padded(number()))

    def attributes() -> None:
        number(4)
        for _ in range(number()):
            name()
            kind = number(4)
            _exactly(file, _padded(number() * _ITEM_BYTES[kind]))

    records = number()
    number(4)
    sizes = []
    for _ in range(number()):
        name()
        sizes.append(number())
    attributes()
    number(4)
    ends, per_record = [0], []
    for _ in range(number()):
        name()
        dims = [number() for _ in range(number())]
        attributes()
        item = _ITEM_BYTES[number(4)]
        number()  # vsize, which is wrong for large variables
        begin = number(8 if version > 1 else 4)
        shape = [sizes[dim] for dim in dims]
        if shape and shape[0] == 0:  # the record dimension has length 0 in the header
            per_record.append((begin, prod(shape[1:]) * item))
        else:
            ends.append(begin + prod(shape) * item)
    if per_record and 0 < records < _STREAMING:
        length = per_record[0][1] if len(per_record) == 1 else sum(_padded(size) for _, size in per_record)
        ends += [begin + (records - 1) * length + size for begin, size in per_record]
    return max(ends)


def _padded(size: int) -> int:
    return -(-size // 4) * 4


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise OSError("truncated: it ends within its header")
    return data
