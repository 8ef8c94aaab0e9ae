"""The lineage of a result: what it was made from, through all upstream results, down to files.

Belongs here: following the records of catalog entries. Does not belong here: one record (provenance), showing a lineage
(report_page, prov_document).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.entry import entry_id
from xdask_pipelines.placement.worker.guard import RESULTS_PREFIX
from xdask_pipelines.resources.provenance import Provenance, UsedEntry


@dataclass(frozen=True)
class Made:
    """A result with its record."""

    entry: Entry
    record: Provenance


@dataclass(frozen=True)
class Lineage:
    """What one result was made from.

    Attributes
    ----------
    result
        The result itself.
    upstream
        Results from which it was made, directly or through others, by identity; downstream ones first.
    files
        Files and stores of datasets that were read, by identity, as they were then.
    entries
        Their entries in the catalog, and those of results, where they still have the recorded digest.
    changed
        Entries that the catalog has with another digest than the recorded one, by identity.
    gone
        Recorded entries that the catalog does not have any more; what a result among them was made from is unknown.
    """

    result: Made
    upstream: dict[str, Made] = field(default_factory=dict)
    files: dict[str, UsedEntry] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    changed: dict[str, Entry] = field(default_factory=dict)
    gone: dict[str, UsedEntry] = field(default_factory=dict)

    @property
    def every_result(self) -> list[Made]:
        """Return the result and all upstream results."""
        return [self.result, *self.upstream.values()]


def identity(used: UsedEntry) -> str:
    """Return the identity of a recorded entry in the catalog."""
    return entry_id(used.dataset, used.region, used.key, used.part)


def is_result(used: UsedEntry) -> bool:
    """Return whether a recorded entry is a result, and not a file of a dataset."""
    return used.key.startswith(RESULTS_PREFIX)


def lineage_of(catalog: Catalog, entry: Entry) -> Lineage:
    """Follow the records of a result and of all results from which it was made.

    Raises
    ------
    CatalogError
        If the catalog does not answer.
    """
    found = Lineage(Made(entry, Provenance.of(entry)))
    waiting = list(found.result.record.sources)
    while waiting:
        new = {identity(used): used for used in waiting}
        known = found.files.keys() | found.upstream.keys() | found.gone.keys()
        new = {id_: used for id_, used in new.items() if id_ not in known}
        waiting = []
        present = _entries(catalog, new.values())
        for id_, used in new.items():
            now = present.get(id_)
            if now is None:
                found.gone[id_] = used
            elif now.etag != used.digest:
                found.changed[id_] = now
            else:
                found.entries[id_] = now
            if not is_result(used):
                found.files[id_] = used
            elif now is not None and id_ not in found.changed:
                found.upstream[id_] = Made(now, Provenance.of(now))
                waiting += found.upstream[id_].record.sources
    return found


def _entries(catalog: Catalog, wanted: Iterable[UsedEntry]) -> dict[str, Entry]:
    """Return the entries of the catalog with these identities, whatever their digests."""
    keys: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    identities = set()
    for used in wanted:
        keys[used.dataset, used.region].append(used.key)
        identities.add(identity(used))
    found = {}
    for (dataset, region), of_place in keys.items():
        for entry in catalog.search(dataset=dataset, region=region, key=sorted(set(of_place)), superseded=True):
            if entry.id in identities:
                found[entry.id] = entry
    return found
