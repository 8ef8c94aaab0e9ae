"""Choosing data facet by facet, each narrowed by those before it.

Belongs here: the values that the catalog has now, and what is chosen. Does not belong here: titles (facet_titles), drawing
(explorer_widgets).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.times import Time, carried, range_of, time_text
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.notebook.facet_titles import EXPERIMENT, Kind, kind_of, order

#: Facets that are chosen as a period, or that follow from the others.
_NOT_CHOSEN = frozenset({"dataset", "region", "year", "month", "day", "time_range"})


class FacetChoice:
    """Data of one kind, chosen facet by facet.

    Parameters
    ----------
    catalog
        Asked again for each drop-down, so that a sync shows at once.
    kind
        Whether only data of the past or only projections are offered.
    """

    def __init__(self, catalog: Catalog, kind: Kind) -> None:
        self.catalog, self.kind = catalog, kind
        self.chosen: dict[str, str] = {}
        self.period: Time | None = None

    def names(self) -> list[str]:
        """Return the names of the drop-downs, in order: more once a dataset is chosen."""
        if "dataset" not in self.chosen:
            return ["dataset"]
        counts = self.catalog.facets(dataset=self.chosen["dataset"])
        names = sorted((name for name in counts if name not in _NOT_CHOSEN), key=order)
        same = "variable_id" in counts and counts["variable_id"] == counts.get("variable")
        return ["dataset", *(name for name in names if not (same and name == "variable_id"))]

    def options(self, name: str) -> dict[str, int]:
        """Return the values of a facet that fit what is chosen before it, with the number of entries for each."""
        if name == "dataset":
            return self._datasets()
        names = self.names()
        query: dict[str, Any] = {n: self.chosen[n] for n in names[: names.index(name)] if n in self.chosen}
        if name != EXPERIMENT and EXPERIMENT in names and EXPERIMENT not in query:
            query[EXPERIMENT] = list(self._experiments(self.chosen["dataset"]))
        counts = self.catalog.facets(name, **query)[name]
        return {v: n for v, n in counts.items() if name != EXPERIMENT or kind_of(v) == self.kind}

    def choose(self, name: str, value: str) -> None:
        """Choose a value. Later facets keep their value if it still fits, and get the value if only one fits.

        Raises
        ------
        CatalogError
            If no entry has the value together with those chosen before; nothing is changed then.
        """
        options = self.options(name)
        if value not in options:
            raise CatalogError(
                f"No {self.kind} entry has {name} {value!r} with what is chosen before. Available: {', '.join(options)}."
            )
        if self.chosen.get(name) != value:
            self.period = None
        self.chosen[name] = value
        names = self.names()
        self.chosen = {n: v for n, v in self.chosen.items() if n in names}
        for later in names[names.index(name) + 1 :]:
            fitting = self.options(later)
            if self.chosen.get(later) not in fitting:
                self.chosen.pop(later, None)
            if len(fitting) == 1:
                (self.chosen[later],) = fitting

    def choose_period(self, first: str, last: str) -> None:
        """Choose a first and a last period, both included; two empty texts choose all.

        Raises
        ------
        CatalogError
            If one of them is not a period, or they are in the wrong order.
        """
        first, last = first.strip() or last.strip(), last.strip() or first.strip()
        period: Time | None = None if not first else first if first == last else (first, last)
        if period is not None:
            range_of(period)
        self.period = period

    def restore(self, dataset: str, facets: Mapping[str, str], period: Time | None) -> list[str]:
        """Choose what a saved selection holds, as far as the catalog still has it; return what it no longer has."""
        self.chosen, missing = {}, []
        for name, value in sorted({"dataset": dataset, **facets}.items(), key=lambda item: order(item[0])):
            if name in self.names() and value in self.options(name):
                self.choose(name, value)
            else:
                missing.append(f"{name} {value}")
        self.period = period
        return missing

    @property
    def complete(self) -> bool:
        """Return whether every drop-down has a value."""
        return all(name in self.chosen for name in self.names())

    def matching(self) -> list[Entry]:
        """Return the entries that fit what is chosen so far, in the chosen period."""
        if "dataset" not in self.chosen:
            return []
        query: dict[str, Any] = dict(self.chosen)
        if EXPERIMENT in self.names() and EXPERIMENT not in query:
            query[EXPERIMENT] = list(self._experiments(self.chosen["dataset"]))
        return self.catalog.search(time=self.period, **query)

    def available(self) -> tuple[str, str]:
        """Return the first and the last month of the entries that fit; two empty texts for data without time."""
        entries = [e for e in self.matching() if e.time_start is not None and e.time_end is not None]
        if not entries:
            return "", ""
        first = min(e.time_start or 0 for e in entries)
        end = carried(max(e.time_end or 0 for e in entries))
        year, month = divmod(end // 100_000_000, 100)
        if end % 100_000_000 == 1_000_000:  # the first of a month: the data end before
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
        return "-".join(time_text(first).split("-")[:2]), f"{year:04}-{month:02}"

    def _datasets(self) -> dict[str, int]:
        counts = self.catalog.facets("dataset")["dataset"] if self.catalog.names() else {}
        return {dataset: n for dataset in counts if (n := self._count(dataset))}

    def _count(self, dataset: str) -> int:
        """Return how many entries of a dataset are of this kind."""
        experiments = self._all_experiments(dataset)
        if experiments:
            return sum(n for value, n in experiments.items() if kind_of(value) == self.kind)
        return self.catalog.count(dataset=dataset) if self.kind == "historical" else 0

    def _experiments(self, dataset: str) -> list[str]:
        """Return the experiments of a dataset that are of this kind."""
        return [value for value in self._all_experiments(dataset) if kind_of(value) == self.kind]

    def _all_experiments(self, dataset: str) -> dict[str, int]:
        if EXPERIMENT not in self.catalog.names():
            return {}
        return self.catalog.facets(EXPERIMENT, dataset=dataset)[EXPERIMENT]
