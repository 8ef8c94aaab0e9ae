"""The layout of one's own data: a pattern in ``regions.yaml`` says what paths look like.

Belongs here: from what a pattern finds to entries. Does not belong here: patterns (path_pattern).
"""

from __future__ import annotations

from collections.abc import Iterable

from xdask_pipelines.catalog.entry import Entry, Format
from xdask_pipelines.catalog.layouts.base import EMPTY, FILE_FORMATS, Holding, Quarantined
from xdask_pipelines.catalog.layouts.stores import stores_of
from xdask_pipelines.catalog.listing import StoredObject
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.path_pattern import read_pattern


class Generic:
    """Paths as ``pattern`` says: names in braces become facets.

    ``{year}``, ``{month}`` and ``{day}`` give the time range too, ``{variable}`` the variable and ``{version}`` the version.
    The pattern's suffix gives the format; one that ends in ``.zarr`` is of whole stores.
    """

    def by_file(self, holding: Holding) -> bool:
        """See :meth:`Layout.by_file`."""
        return read_pattern(holding.pattern).suffix != ".zarr"

    def parse(self, objects: Iterable[StoredObject], holding: Holding) -> tuple[list[Entry], list[Quarantined]]:
        """See :meth:`Layout.parse`."""
        pattern = read_pattern(holding.pattern)
        quarantined: list[Quarantined] = []
        things: list[tuple[StoredObject, Format]]
        if pattern.suffix == ".zarr":
            stores, quarantined = stores_of(objects)
            things = [(store.whole, store.format) for store in stores]
        else:
            things = [(item, FILE_FORMATS[pattern.suffix]) for item in objects]
        entries: list[Entry] = []
        for item, file_format in things:
            said = pattern.match(holding.below(item.key))
            if isinstance(said, str):
                quarantined.append(Quarantined(item.key, said))
                continue
            try:
                start, end = _times(said)
            except CatalogError as error:
                quarantined.append(Quarantined(item.key, str(error)))
                continue
            if item.size_bytes == 0:
                quarantined.append(Quarantined(item.key, EMPTY))
                continue
            version = said.pop("version", "")
            variable = said.get("variable", holding.variable)
            entries.append(
                holding.entry(item, file_format, variable, facets=said, version=version, time_start=start, time_end=end)
            )
        return entries, quarantined


def _times(said: dict[str, str]) -> tuple[int, int] | tuple[None, None]:
    given = [said[name] for name in ("year", "month", "day") if name in said]
    return time_range("-".join(given)) if given else (None, None)
