"""Tables of objects: the columnar form of listings and manifests.

Belongs here: one sorted table of objects. Does not belong here: listing objects (listing, bucket, inventory), the
meaning of paths (layouts), packed tables of millions of objects (packed_objects).

A million objects take 110 MB as columns and 400 MB as Python objects.
"""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, overload

from xdask_pipelines.catalog.manifest.listing import StoredObject

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 20_000


class ObjectTable(Sequence[StoredObject]):
    """Objects sorted by key; equal to any sequence of the same objects.

    Parameters
    ----------
    table
        Columns ``key``, ``size_bytes``, ``etag``, ``modified_ns``, ``problem``, sorted by key.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    # ---- creating a table -------------------------------------------------------------------------------------

    @classmethod
    def of(cls, objects: Iterable[StoredObject]) -> ObjectTable:
        """Create a table of objects, which must be sorted by key."""
        if isinstance(objects, ObjectTable):
            return objects
        found = list(objects)
        return cls.of_columns(*(list(map(attrgetter(name), found)) for name in _schema().names))

    @classmethod
    def of_columns(
        cls,
        keys: Sequence[str],
        sizes: Sequence[int],
        etags: Sequence[str],
        modified: Sequence[int],
        problems: Sequence[str] | None = None,
    ) -> ObjectTable:
        """Create a table from columns, and sort it by key."""
        import pyarrow as pa

        values = [keys, sizes, etags, modified, problems if problems is not None else [""] * len(keys)]
        schema = _schema()
        return cls(pa.table([pa.array(v, field.type) for v, field in zip(values, schema, strict=True)], schema))

    @classmethod
    def joined(cls, listings: Sequence[ObjectTable]) -> ObjectTable:
        """Join several listings, and sort the objects by key."""
        some = [listing for listing in listings if len(listing)]
        return some[0] if len(some) == 1 else cls(cls.in_order(some).table.sort_by("key"))

    @classmethod
    def in_order(cls, parts: Iterable[ObjectTable]) -> ObjectTable:
        """Concatenate consecutive parts."""
        import pyarrow as pa

        return cls(pa.concat_tables([part.table for part in parts] or [_schema().empty_table()]))

    # ---- packed -----------------------------------------------------------------------------------------------

    def packed(self) -> bytes:
        """Return the table as Parquet, for transfer and storage: about 30 bytes for each object."""
        import pyarrow.parquet as pq

        file = io.BytesIO()
        # Dictionaries of unique values would take three times as long to write, and twice as long to read.
        pq.write_table(self.table, file, compression="zstd", row_group_size=_ROWS, use_dictionary=["problem"])
        return file.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> Iterator[ObjectTable]:
        """Read the output of `packed` part by part, because all at once would need twice the memory."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        file, schema = pq.ParquetFile(pa.BufferReader(data)), _schema()
        for i in range(file.num_row_groups):
            yield cls(file.read_row_group(i, use_threads=False).cast(schema))

    @staticmethod
    def rows(data: bytes) -> int:
        """Return the number of objects in the output of `packed`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        return int(pq.read_metadata(pa.BufferReader(data)).num_rows)

    # ---- a sequence -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[StoredObject]:
        for batch in self.table.to_batches(max_chunksize=_ROWS):
            yield from map(StoredObject, *(column.to_pylist() for column in batch.columns))

    @overload
    def __getitem__(self, at: int) -> StoredObject: ...
    @overload
    def __getitem__(self, at: slice) -> ObjectTable: ...
    def __getitem__(self, at: int | slice) -> StoredObject | ObjectTable:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                raise ValueError("a listing is cut without steps")
            return ObjectTable(self.table.slice(start, max(0, stop - start)))
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        (found,) = ObjectTable(self.table.slice(at % len(self), 1))
        return found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ObjectTable):
            return bool(self.table.equals(other.table))
        return isinstance(other, Sequence) and list(self) == list(other)

    # ---- selecting objects ------------------------------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """Of all objects."""
        import pyarrow.compute as pc

        return int(pc.sum(self.table["size_bytes"]).as_py() or 0)

    def usable(self) -> ObjectTable:
        """Return objects without a problem, whose keys are valid paths."""
        import pyarrow.compute as pc

        odd = self._odd()
        return ObjectTable(self.table.filter(pc.invert(odd))) if pc.any(odd, min_count=0).as_py() else self

    def unusable(self) -> ObjectTable:
        """Return all objects that are not usable."""
        return ObjectTable(self.table.filter(self._odd()))

    def _odd(self) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        no_path = pc.match_substring_regex(self.keys, r"(^|/)\.{0,2}(/|$)")  # a part that is empty, . or ..
        return pc.or_(no_path, pc.not_equal(self.table["problem"], ""))

    @property
    def keys(self) -> pa.ChunkedArray:
        """Keys of all objects."""
        return self.table["key"]

    def without(self, keys: Collection[str] | pa.ChunkedArray) -> ObjectTable:
        """Return objects with other keys."""
        import pyarrow.compute as pc

        return ObjectTable(self.table.filter(pc.invert(self._among(keys))))

    def only(self, keys: Collection[str] | pa.ChunkedArray) -> ObjectTable:
        """Return objects with these keys."""
        return ObjectTable(self.table.filter(self._among(keys)))

    def _among(self, keys: Collection[str] | pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = keys if isinstance(keys, pa.ChunkedArray) else pa.array(list(keys), pa.large_string())
        return pc.is_in(self.keys, value_set=wanted)

    def behind(self, keys: Collection[str]) -> ObjectTable:
        """Return objects with these keys, or in folders with these names, which must not contain each other."""
        files = self.only(keys)
        if len(files) == len(keys) or not len(self):
            return files
        folders = sorted(f"{key}/" for key in keys)
        first = max(0, bisect_right(folders, f"{self[0].key}/") - 1)
        last = bisect_right(folders, f"{self[-1].key}/")
        return ObjectTable.joined([self.below(folder[:-1]) for folder in folders[first:last]])

    def below(self, folder: str) -> ObjectTable:
        """Return the object with that key, or all objects in the folder of that name."""
        keys = _Keys(self.table["key"])
        start, end = bisect_left(keys, f"{folder}/"), bisect_left(keys, f"{folder}0")  # "0" follows "/"
        if start == end and (at := bisect_left(keys, folder)) < len(self) and keys[at] == folder:
            start, end = at, at + 1
        return self[start:end]

    def start_of(self, key: str) -> int:
        """Return the number of objects before a key."""
        return bisect_left(_Keys(self.keys), key)

    def end_of(self, key: str) -> int:
        """Return the number of objects before a key, including the key itself."""
        return bisect_right(_Keys(self.keys), key)


class _Keys(Sequence[str]):
    """A column of keys as a sequence for bisection."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return _Keys(self._column[at])
        key: str = self._column[at].as_py()
        return key


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, number = pa.large_string(), pa.int64()  # plain strings are limited to 2 GB of keys
    return pa.schema(
        [("key", text), ("size_bytes", number), ("etag", text), ("modified_ns", number), ("problem", text)]
    )
