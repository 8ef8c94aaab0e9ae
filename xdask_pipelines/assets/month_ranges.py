"""Months of a partitioned result that an analysis uses, by its config.

Belongs here: the range, and refusing one that is not complete. Does not belong here: partitions of Dagster (partitions),
selecting time steps (climate.times.periods).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from xdask_pipelines.errors import MissingEntries, XdaskError
from xdask_pipelines.system.units import counted

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)
_SHOWN = 12


@dataclass(frozen=True)
class MonthRange:
    """Months from a first to a last one, both included; None stands for the first or last month that there is.

    Examples
    --------
    >>> MonthRange("2010-12", "2011-01").of(["2010-11", "2010-12", "2011-01"])
    ['2010-12', '2011-01']
    """

    first: str | None = None
    last: str | None = None

    def __post_init__(self) -> None:
        for month in filter(None, (self.first, self.last)):
            if not _MONTH.fullmatch(month):
                raise XdaskError(f"{month!r} is not a month. Write one such as 2011-01.")
        if self.first and self.last and self.first > self.last:
            raise XdaskError(f"The period from {self.first} to {self.last} is empty. Write the earlier month first.")

    def __contains__(self, month: str) -> bool:
        """Return whether a month is in the range."""
        return (self.first or "") <= month <= (self.last or "9999-12")

    def of(self, there: Iterable[str]) -> list[str]:
        """Return those of some months that are in the range, sorted."""
        return sorted(month for month in there if month in self)

    def refuse_gaps(self, name: str, there: Iterable[str]) -> None:
        """Refuse months of a result that do not cover a range with a first and a last month.

        Raises
        ------
        MissingEntries
            A month is missing; the message lists them.
        """
        found = self.of(there)
        if not self.first and not self.last:
            return
        first, last = (
            self.first or (found[0] if found else self.last),
            self.last or (found[-1] if found else self.first),
        )
        missing = [month for month in _months(str(first), str(last)) if month not in found]
        if missing:
            shown = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
            raise MissingEntries(
                f"{counted(len(missing), 'month')} of {name} from {first} to {last} "
                f"{'is' if len(missing) == 1 else 'are'} missing: {shown}. Sync and materialize them, or choose another "
                "period.",
                missing=tuple(f"{name}[{month}]" for month in missing),
            )


def _months(first: str, last: str) -> list[str]:
    begin, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return [f"{n // 12:04d}-{n % 12 + 1:02d}" for n in range(begin, end + 1)]
