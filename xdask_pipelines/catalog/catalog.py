"""The catalog as its users see it: search, facets, resolve, commit.

Belongs here: what one may ask, and of whom. Does not belong here: how questions are read (query), how entries are stored
(backends), or how they are found out (layouts, sync).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from xdask_pipelines.catalog.backend import Backend, Change, Committed, Lease, Tombstone
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.preconditions import check_words
from xdask_pipelines.catalog.query import Box, Wanted, asked, refuse_unwritable
from xdask_pipelines.catalog.resolve import nearest, resolve, what_there_is
from xdask_pipelines.catalog.series import Replicas
from xdask_pipelines.catalog.times import Time
from xdask_pipelines.errors import CatalogError, MissingEntries
from xdask_pipelines.system.quoting import in_shell


class Catalog:
    """Entries of all datasets in all Regions; see :func:`xdask_pipelines.catalog.open_catalog`.

    Names that may be searched are the fields of :class:`Entry` (``dataset``, ``region``, ``layout``, ``format``,
    ``variable``, ``version``, ``part``, ``key``), every facet and every attribute. Values match exactly, as text; a
    list means any of its values. ``time`` is one period (``"2026"``, ``"2026-03"``) or a range of two, first and last
    included (``("2026-01", "2026-04")``); a search finds the entries that overlap it, and no entries without time.
    ``bbox=(west, south, east, north)`` asks for entries whose data lie in that box, in degrees, at least in part; west may
    be greater than east, to cross the date line
    (or, counting from 0, Greenwich). Entries without extent, such as those whose header is not read yet, do not.
    Superseded versions are left out unless
    ``superseded`` is true or a ``version`` is named.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def search(
        self,
        *,
        superseded: bool = False,
        limit: int | None = None,
        time: Time | None = None,
        bbox: Box | None = None,
        **query: Wanted,
    ) -> list[Entry]:
        """Matching entries, sorted by dataset, Region, key and part; at most ``limit``.

        Raises
        ------
        CatalogError
            A name that no entry has (an empty catalog answers with no entries), or a value that is not text.
        """
        if limit is not None and limit < 0:
            raise CatalogError(f"limit is {limit}; write how many entries at most, or leave it out for all")
        found = self.backend.search(asked(query, superseded=superseded, time=time, bbox=bbox, limit=limit))
        if not found:
            self._refuse_unknown(query)
        return found

    def count(
        self,
        *,
        superseded: bool = False,
        time: Time | None = None,
        bbox: Box | None = None,
        **query: Wanted,
    ) -> int:
        """How many entries match; arguments and errors as in :meth:`search`."""
        number = self.backend.count(asked(query, superseded=superseded, time=time, bbox=bbox))
        if not number:
            self._refuse_unknown(query)
        return number

    def facets(
        self,
        *names: str,
        superseded: bool = False,
        time: Time | None = None,
        bbox: Box | None = None,
        **query: Wanted,
    ) -> dict[str, dict[str, int]]:
        """For each name its values among matching entries, sorted, and how many entries have each.

        Without names: dataset, Region, variable and every facet that a matching entry has. Query and errors as in
        :meth:`search`.
        """
        wanted = names or tuple(
            name
            for name, kind in self.backend.names().items()
            if kind == "facet" or name in ("dataset", "region", "variable")
        )
        refuse_unwritable(dict.fromkeys(names, ()))
        found = self.backend.facets(wanted, asked(query, superseded=superseded, time=time, bbox=bbox))
        if not all(found.values()):
            self._refuse_unknown([*names, *query])
        return found if names else {name: counts for name, counts in found.items() if counts}

    def instead(
        self,
        *,
        superseded: bool = False,
        time: Time | None = None,
        bbox: Box | None = None,
        **query: Wanted,
    ) -> str:
        """What there is, in words for a person at a shell whose search found nothing: other values, and their times."""
        wanted = asked(query, superseded=superseded)
        found = self.backend.search(wanted) if wanted.terms else ()
        return what_there_is(self.backend, wanted.terms, found, in_shell)

    def names(self) -> dict[str, str]:
        """Every name that entries can be searched by, and its kind: ``field``, ``facet`` or ``attribute``."""
        return self.backend.names()

    def resolve(
        self,
        *,
        dataset: str,
        time: Time | None = None,
        times: Sequence[str] | None = None,
        each: Mapping[str, Sequence[str]] | None = None,
        near: Sequence[str] = (),
        **facets: str,
    ) -> list[Entry]:
        """The entries asked for, each there exactly once: never the nearest, never an arbitrary one.

        Parameters
        ----------
        dataset
            Name of the dataset.
        time
            One period such as ``"2011"``, or a range such as ``("2011-01", "2011-12")``, first and last included: all of it
            must be there, in one entry or in several that follow one another without a hole and without an overlap.
            They may differ in ``year``, ``month`` and ``day`` only.
        times
            A list of separate periods such as ``["2011-01", "2012-01"]``; exactly one entry must cover each whole period.
            Give ``time`` or ``times``, not both.
        each
            Name to values, such as ``{"member_id": ["r1i1p1f1", "r2i1p1f1"]}``: exactly one entry for each value (for
            each combination of values and times, where several are given). With ``time``, for each value all of it.
        near
            Regions from the cheapest to the dearest for what reads the entries. Entries that are the same thing in
            different Regions (all is equal but the path) count as one, the one in the first of these.
        **facets
            One value for each further name.

        Returns
        -------
        list of Entry
            In the order asked for (values of ``each`` outside, times inside). An entry that covers several times is
            there once.

        Raises
        ------
        MissingEntries
            ``missing`` lists everything that is not there; the message adds what is, as help only.
        AmbiguousEntries
            ``candidates`` lists the entries among which the request does not choose; the message names what would.
        CatalogError
            As in :meth:`search`.
        """
        return nearest(self.replicas(dataset=dataset, time=time, times=times, each=each, **facets), near)

    def replicas(
        self,
        *,
        dataset: str,
        time: Time | None = None,
        times: Sequence[str] | None = None,
        each: Mapping[str, Sequence[str]] | None = None,
        **facets: str,
    ) -> list[tuple[str, Replicas]]:
        """As :meth:`resolve`: for each thing the words that ask for it, and its entries in all Regions that hold it."""
        try:
            return resolve(self.backend, {"dataset": dataset, **facets}, time, times, each or {})
        except MissingEntries:
            self._refuse_unknown([*facets, *(each or {})])
            raise

    def commit(self, change: Change) -> int:
        """Write entries and remove others in one atomic commit.

        Parameters
        ----------
        change
            What to write and to remove, and what must hold for it.

        Returns
        -------
        int
            Generation of the commit, higher than all before. With nothing to do nothing is written, and it is that of
            the place (0 if none is given).

        Raises
        ------
        StaleWriter
            The place has moved on from ``base_generation``, or the lease is lost. Nothing was written.
        CatalogError
            Something else does not hold. Nothing was written.
        """
        check_words(change)
        if not (change.upserts or change.removals or change.manifest):
            place = (change.dataset, change.region)
            return 0 if None in place else self.generation(str(place[0]), str(place[1]))
        return self.backend.commit(change)

    def generation(self, dataset: str, region: str) -> int:
        """Last commit that touched (dataset, Region); 0 if none did."""
        return self.backend.generation(dataset, region)

    def manifest(self, dataset: str, region: str) -> Committed:
        """Manifest, entry digests and generation of (dataset, Region), of one moment: the base of a sync."""
        return self.backend.committed(dataset, region)

    def tombstones(self, dataset: str, region: str) -> list[Tombstone]:
        """Entries of (dataset, Region) that were removed and not written again since."""
        return self.backend.tombstones(dataset, region)

    def lease(self, dataset: str, region: str, owner: str) -> Lease:
        """Claim the right to sync (dataset, Region); see :meth:`Backend.lease`."""
        return self.backend.lease(dataset, region, owner)

    def renew(self, lease: Lease) -> None:
        """Show that the holder of a lease lives; see :meth:`Backend.renew`."""
        self.backend.renew(lease)

    def release(self, lease: Lease) -> None:
        """Give a lease back unused."""
        self.backend.release(lease)

    def migrate(self, tell: Callable[[str], None] = lambda line: None) -> bool:
        """Bring a catalog that an older version made to the form of this one; whether there was something to do.

        Documents are copied first and become the catalog in one moment; whoever is killed before leaves it as it was, and it
        may be run again, and by several at once. Commits wait, or are refused.

        Raises
        ------
        CatalogError
            The copy is not whole, or the catalog is of a newer version.
        """
        return self.backend.migrate(tell)

    def repair(self) -> dict[tuple[str, str], int]:
        """Leave out what is damaged; see :meth:`Backend.repair`."""
        return self.backend.repair()

    def _refuse_unknown(self, names: Iterable[str]) -> None:
        """To be called when nothing was found: an unknown name never finds anything, a known one mostly does."""
        known = self.backend.names()
        if known and (unknown := sorted(set(names) - set(known))):
            raise CatalogError(
                f"No entry has {', '.join(unknown)}; entries can be searched by {', '.join(known)}, and by time"
            )
