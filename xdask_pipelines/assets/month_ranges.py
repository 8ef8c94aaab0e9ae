"""Partitions in time: keys that are periods, and the months of a partitioned result that an analysis uses by its config.

Belongs here: refusing keys that say something else, and ranges that are not complete. Does not belong here: which
partitions there are (partitions), selecting time steps (climate.times.periods).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from xdask_pipelines.catalog.times import carried, time_key, time_range
from xdask_pipelines.errors import CatalogError, MissingEntries, XdaskError
from xdask_pipelines.system.units import counted

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)
_SHOWN = 12
_FORMATS = {"monthly": "%Y-%m", "daily": "%Y-%m-%d", "hourly": "%Y-%m-%dT%H"}


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


def refuse_other_keys(name: str, partitions_def: dg.PartitionsDefinition[str] | None) -> None:
    """Refuse partitions in time whose keys are not their periods.

    Dagster's default names a month by its first day, ``2011-03-01``, which as a period is that day alone.

    Raises
    ------
    dg.DagsterInvalidDefinitionError
        If the key of the first partition is another period, or none.

    Examples
    --------
    >>> refuse_other_keys("mean", dg.MonthlyPartitionsDefinition("2011-03-01"))
    Traceback (most recent call last):
      ...
    dagster._core.errors.DagsterInvalidDefinitionError: mean: the partition '2011-03-01' lasts from 2011-03-01 until \
before 2011-04-01, which its key does not say. Pass fmt="%Y-%m" to the partitions' definition, so that keys are periods.
    """
    if not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        return
    window, key = partitions_def.get_first_partition_window(), partitions_def.get_first_partition_key()
    if window is None or key is None:  # there is none yet
        return
    start, end = (time_key(t.year, t.month, t.day, t.hour, t.minute, t.second) for t in (window.start, window.end))
    try:
        named = time_range(key)
    except CatalogError:
        named = (0, 0)
    if (named[0], carried(named[1])) == (start, end):
        return
    schedule = str(getattr(partitions_def.schedule_type, "value", "")).lower()
    remedy = (
        f'Pass fmt="{_FORMATS[schedule]}" to the partitions\' definition, so that keys are periods'
        if schedule in _FORMATS
        else "Use monthly, daily or hourly partitions"
    )
    raise dg.DagsterInvalidDefinitionError(
        f"{name}: the partition {key!r} lasts from {window.start:%Y-%m-%d} until before {window.end:%Y-%m-%d}, which its "
        f"key does not say. {remedy}."
    )
