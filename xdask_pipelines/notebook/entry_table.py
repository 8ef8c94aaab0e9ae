"""Search results: entries of the catalog that show as a table.

Belongs here: rows and columns. Does not belong here: finding entries (catalog), the page of one entry (catalog.entry_page).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.series import calendar_of
from xdask_pipelines.catalog.times import period_text
from xdask_pipelines.system.markup import block, table
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.system.units import counted, format_bytes

if TYPE_CHECKING:
    import pandas as pd

#: Rows of a table that is shown; `to_pandas` has all.
_SHOWN = 30


def period_of(entry: Entry) -> str:
    """Return the period of an entry as text; empty for data without time."""
    if entry.time_start is None or entry.time_end is None:
        return ""
    return period_text(entry.time_start, entry.time_end, calendar_of(entry))


class EntryTable(Sequence[Entry]):
    """Entries that a search found, in the catalog's order; shows as a table.

    Parameters
    ----------
    entries
        The entries.

    Examples
    --------
    >>> from xdask_pipelines import open_project
    >>> with open_project() as project:
    ...     found = project.search(dataset="cmip6", variable="tas")
    >>> found.to_pandas()["experiment_id"].tolist()
    ['A1B', 'E1', 'pre-industrial']
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> EntryTable: ...
    def __getitem__(self, index: int | slice) -> Entry | EntryTable:
        return EntryTable(self._entries[index]) if isinstance(index, slice) else self._entries[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    @property
    def nbytes(self) -> int:
        """Return the stored bytes of all entries."""
        return sum(entry.size_bytes for entry in self._entries)

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame with a row for each entry: dataset, Region, variable, all facets, period, bytes and key."""
        import pandas as pd  # takes half a second

        return pd.DataFrame([self._row(entry) for entry in self._entries])

    def _row(self, entry: Entry) -> dict[str, Any]:
        facets = {name: value for name, value in entry.facets.items() if name not in ("dataset", "region", "variable")}
        first = {"dataset": entry.dataset, "region": entry.region, "variable": entry.variable, **facets}
        last = {"version": entry.version, "period": period_of(entry), "bytes": entry.size_bytes, "key": entry.key}
        return first | last

    def _differing(self) -> tuple[list[str], dict[str, str]]:
        """Return the columns whose values differ, and the values that all entries share."""
        rows = [self._row(entry) for entry in self._entries]
        names = list(dict.fromkeys(name for row in rows for name in row if name not in ("bytes", "key")))
        common = {
            name: str(rows[0][name])
            for name in names
            if len({row.get(name) for row in rows}) == 1 and rows[0].get(name)
        }
        empty = {name for name in names if not any(row.get(name) for row in rows)}
        return [name for name in names if name not in common and name not in empty], common

    def _heading(self) -> str:
        return f"{counted(len(self), 'entry', 'entries')}, {format_bytes(self.nbytes)}"

    def _lines(self) -> tuple[list[str], list[list[str]]]:
        columns, _ = self._differing() if self._entries else ([], {})
        rows = [
            [*(str(row.get(name, "")) for name in columns), format_bytes(row["bytes"]), row["key"]]
            for row in map(self._row, self._entries[:_SHOWN])
        ]
        return [*columns, "size", "key"], rows

    def _rest(self) -> str:
        return f"… and {len(self) - _SHOWN:,} more; all are in .to_pandas()" if len(self) > _SHOWN else ""

    def __repr__(self) -> str:
        head, rows = self._lines()
        texts = [head, *([one_line(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in texts]
        _, common = self._differing() if self._entries else ([], {})
        shared = ", ".join(f"{name} {one_line(value)}" for name, value in common.items())
        return "\n".join(filter(None, [self._heading(), shared, *(lines if rows else []), self._rest()]))

    def _repr_html_(self) -> str:
        if not self._entries:
            return block(self._heading())
        head, rows = self._lines()
        _, common = self._differing()
        shared = ", ".join(f"{name} {value}" for name, value in common.items())
        shown = table(head, rows, right=(len(head) - 2,))
        return block(self._heading(), *filter(None, [f"All: {shared}" if shared else "", shown, self._rest()]))
