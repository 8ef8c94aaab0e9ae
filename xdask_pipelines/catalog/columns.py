"""Objects of a place as columns: what a listing or a manifest of a million objects is held, compared and sent as.

Belongs here: one sorted table of objects, and how two differ. Does not belong here: how objects are listed (listing,
bucket, inventory), what their paths mean (layouts).

A million objects take 100 MB as columns and 400 MB as Python objects; two such tables are compared in a second.
"""

from __future__ import annotations

import hashlib
import io
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from xdask_pipelines.catalog.listing import StoredObject
from xdask_pipelines.errors import CatalogError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 50_000
_STATE = ("size_bytes", "etag", "modified_ns")


class Listing(Sequence[StoredObject]):
    """Objects sorted by key; equal to any sequence of the same objects.

    Parameters
    ----------
    table
        Columns ``key``, ``size_bytes``, ``etag``, ``modified_ns``, ``problem``, sorted by key.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    # ---- making one -------------------------------------------------------------------------------------------

    @classmethod
    def of(cls, objects: Iterable[StoredObject]) -> Listing:
        """Listing of objects that are sorted by key."""
        if isinstance(objects, Listing):
            return objects
        columns = list(zip(*((o.key, o.size_bytes, o.etag, o.modified_ns, o.problem) for o in objects), strict=True))
        return cls.of_columns(*(columns or [()] * 5))

    @classmethod
    def of_columns(
        cls,
        keys: Sequence[str],
        sizes: Sequence[int],
        etags: Sequence[str],
        modified: Sequence[int],
        problems: Sequence[str] | None = None,
    ) -> Listing:
        """Listing of columns, sorted by key."""
        import pyarrow as pa

        values = [keys, sizes, etags, modified, problems if problems is not None else [""] * len(keys)]
        schema = _schema()
        return cls(pa.table([pa.array(v, field.type) for v, field in zip(values, schema, strict=True)], schema))

    @classmethod
    def in_order(cls, parts: Sequence[Listing]) -> Listing:
        """All objects of parts that follow one another."""
        import pyarrow as pa

        return cls(pa.concat_tables([part.table for part in parts] or [_schema().empty_table()]))

    @classmethod
    def joined(cls, listings: Sequence[Listing]) -> Listing:
        """All objects of several listings, sorted by key."""
        import pyarrow as pa

        table = pa.concat_tables([listing.table for listing in listings] or [_schema().empty_table()])
        return cls(table if len(listings) == 1 else table.sort_by("key"))

    def packed(self) -> bytes:
        """As Parquet, to cross Regions or to be kept: some 20 bytes an object."""
        import pyarrow.parquet as pq

        file = io.BytesIO()
        pq.write_table(self.table, file, compression="zstd", row_group_size=_BATCH)
        return file.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> Listing:
        """What `packed` wrote."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        # One group of rows after the other: all at once need as much memory again.
        file, schema = pq.ParquetFile(io.BytesIO(data)), _schema()
        groups = [file.read_row_group(i, use_threads=False).cast(schema) for i in range(file.num_row_groups)]
        return cls(pa.concat_tables(groups or [schema.empty_table()]))

    # ---- a sequence -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[StoredObject]:
        for batch in self.table.to_batches(max_chunksize=_BATCH):
            yield from map(StoredObject, *(column.to_pylist() for column in batch.columns))

    @overload
    def __getitem__(self, at: int) -> StoredObject: ...
    @overload
    def __getitem__(self, at: slice) -> Listing: ...
    def __getitem__(self, at: int | slice) -> StoredObject | Listing:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                raise ValueError("a listing is cut without steps")
            return Listing(self.table.slice(start, max(0, stop - start)))
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        (found,) = Listing(self.table.slice(at % len(self), 1))
        return found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Listing):
            return bool(self.table.equals(other.table))
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    # ---- looking at it ----------------------------------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """Of all objects."""
        import pyarrow.compute as pc

        return int(pc.sum(self.table["size_bytes"]).as_py() or 0)

    def usable(self) -> Listing:
        """Objects without a problem."""
        import pyarrow.compute as pc

        fine = pc.equal(self.table["problem"], "")
        return self if pc.all(fine, min_count=0).as_py() else Listing(self.table.filter(fine))

    def problems(self) -> Listing:
        """Objects with a problem."""
        import pyarrow.compute as pc

        return Listing(self.table.filter(pc.not_equal(self.table["problem"], "")))

    def without(self, keys: Collection[str]) -> Listing:
        """Objects of other keys."""
        import pyarrow as pa
        import pyarrow.compute as pc

        among = pc.is_in(self.table["key"], pa.array(list(keys), pa.large_string()))
        return Listing(self.table.filter(pc.invert(among)))

    def only(self, keys: Collection[str]) -> Listing:
        """Objects of these keys."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return Listing(self.table.filter(pc.is_in(self.table["key"], pa.array(list(keys), pa.large_string()))))

    def behind(self, keys: Sequence[str]) -> Listing:
        """Objects of these keys, and all that lie in folders of these names."""
        files = self.only(keys)
        if len(files) == len(keys):
            return files
        return Listing.joined([*(part for key in keys if len(part := self.below(key)))])

    def below(self, folder: str) -> Listing:
        """The object of that key, or all objects in the folder of that name."""
        keys = _Keys(self.table["key"])
        start, end = bisect_left(keys, f"{folder}/"), bisect_left(keys, f"{folder}0")  # "0" follows "/"
        if start == end and (at := bisect_left(keys, folder)) < len(self) and keys[at] == folder:
            start, end = at, at + 1
        return self[start:end]

    def check_sorted(self, where: str) -> None:
        """Refuse keys that are not sorted, each there once.

        Raises
        ------
        CatalogError
            Naming the first two, and ``where``.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        last = None
        for batch in self.usable().table.select(["key"]).to_batches(max_chunksize=_BATCH):
            keys = batch["key"]
            if last is not None:
                keys = pa.concat_arrays([last, keys])
            if not pc.all(rising := pc.less(keys[:-1], keys[1:]), min_count=0).as_py():
                at = pc.index(rising, False).as_py()
                raise CatalogError(
                    f"The listing of {where} is not sorted, each key once: {keys[at + 1].as_py()!r} comes "
                    f"after {keys[at].as_py()!r}; nothing was changed"
                )
            last = keys[-1:]

    def fingerprint(self, without: Collection[str] = ()) -> str:
        """Digest of keys and ETags, whatever the times of modification.

        Parameters
        ----------
        without
            Keys that do not count.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        left_out = pa.array(list(without), pa.large_string())
        digest, end = hashlib.blake2b(digest_size=16), pa.scalar("\0", pa.large_string())
        # Rows one after the other, so that it does not matter how the table is cut into chunks.
        for whole in self.table.select(["key", "etag"]).to_batches(max_chunksize=_BATCH):
            batch = whole.filter(pc.invert(pc.is_in(whole["key"], left_out)))
            lengths = [pc.binary_length(column) for column in batch.columns]
            sized = [pc.cast(length, pa.large_string()) for length in lengths]
            rows = pc.binary_join_element_wise(sized[0], batch["key"], sized[1], batch["etag"], end)
            for row in rows.to_pylist():
                digest.update(row.encode())
        return digest.hexdigest()

    def difference(self, before: Listing) -> tuple[Listing, list[str], set[str]]:
        """What became of another listing of the same place.

        Returns
        -------
        Objects that are new or different; keys that are gone; and of the first, the keys that were there before.
        """
        import pyarrow as pa

        # Stretch by stretch between the same keys: one comparison of all needs as much memory as both listings.
        keys, old_keys = _Keys(self.table["key"]), _Keys(before.table["key"])
        put: list[pa.Table] = [self.table.slice(0, 0)]
        gone: list[str] = []
        known: list[str] = []
        start = old_start = 0
        while start < len(keys) or old_start < len(old_keys):
            end, old_end = start + _BATCH, len(old_keys)
            if end < len(keys):
                old_end = bisect_left(old_keys, keys[end], lo=old_start)
            now, old = self[start:end].table, before[old_start:old_end].table
            if not now.equals(old):
                _compare(now, old, put, gone, known)
            start, old_start = min(end, len(keys)), old_end
        return Listing(pa.concat_tables(put)), gone, set(known)


def _compare(now: pa.Table, old: pa.Table, put: list[pa.Table], gone: list[str], known: list[str]) -> None:
    """Add what became of one stretch."""
    import pyarrow.compute as pc

    at = pc.index_in(now["key"], value_set=old["key"])
    same = pc.is_valid(at)
    for name in _STATE:
        same = pc.and_(same, pc.fill_null(pc.equal(now[name], old[name].take(at)), False))
    differing = now.filter(pc.invert(same))
    put.append(differing)
    known += differing["key"].filter(pc.is_in(differing["key"], value_set=old["key"])).to_pylist()
    gone += old["key"].filter(pc.invert(pc.is_in(old["key"], value_set=now["key"]))).to_pylist()


class _Keys(Sequence[str]):
    """A column of keys that can be bisected."""

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

    text, number = pa.large_string(), pa.int64()  # 2 GB of keys are too few for strings
    return pa.schema(
        [("key", text), ("size_bytes", number), ("etag", text), ("modified_ns", number), ("problem", text)]
    )
