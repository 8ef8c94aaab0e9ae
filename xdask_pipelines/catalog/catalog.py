"""The interface of the catalog for users: search, facets, resolve, commit.

Belongs here: the public methods. Does not belong here: parsing of queries (query), storage (backends), or creating
entries (layouts, sync).
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

    Names that can be searched are the fields of :class:`Entry` (``dataset``, ``region``, ``layout``, ``format``,
    ``variable``, ``version``, ``part``, ``key``), every facet and every attribute. Values match exactly, as text; a
    list means any of its values. ``time`` is one period (``"2026"``, ``"2026-03"``) or a range of two, first and last
    included (``("2026-01", "2026-04")``); a search finds the entries that overlap it, and no entries without time.
    ``bbox=(west, south, east, north)`` finds entries whose data are at least partly in that box, in degrees; west may
    be greater than east, to cross the date line (or Greenwich, if longitudes count from 0). Entries without extent, for
    example those without a header, are not found. Superseded versions are found only if ``superseded`` is true or a
    ``version`` is given.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def __repr__(self) -> str:
        return f"<Catalog: {type(self.backend).__name__.removesuffix('Backend')}>"

    def _repr_html_(self) -> str:
        from xdask_pipelines.catalog.catalog_page import catalog_page  # kept light: only notebooks show pages

        return catalog_page(self.backend)

    def search(
        self,
        *,
        superseded: bool = False,
        limit: int | None = None,
        time: Time | None = None,
        bbox: Box | None = None,
        **query: Wanted,
    ) -> list[Entry]:
        """Return matching entries, sorted by dataset, Region, key and part; at most ``limit``.

        Raises
        ------
        CatalogError
            If no entry has a name (an empty catalog returns no entries instead), or a value is not text.
        """
        if limit is not None and limit < 0:
            raise CatalogError(f"limit is {limit}. Pass a positive number of entries, or leave it out for all")
        entries = self.backend.search(asked(query, superseded=superseded, time=time, bbox=bbox, limit=limit))
        if not entries:
            self._refuse_unknown(query)
        return entries

    def count(
        self,
        *,
        superseded: bool = False,
        time: Time | None = None,
        bbox: Box | None = None,
        **query: Wanted,
    ) -> int:
        """Return the number of matching entries; arguments and errors as in :meth:`search`."""
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
        """Return the sorted values of each name among matching entries, with the number of entries for each.

        Without names: dataset, Region, variable and all facets of matching entries. Query and errors as in
        :meth:`search`.
        """
        wanted = names or tuple(
            name
            for name, kind in self.backend.names().items()
            if kind == "facet" or name in ("dataset", "region", "variable")
        )
        refuse_unwritable(dict.fromkeys(names, ()))
        by_name = self.backend.facets(wanted, asked(query, superseded=superseded, time=time, bbox=bbox))
        if not all(by_name.values()):
            self._refuse_unknown([*names, *query])
        return by_name if names else {name: counts for name, counts in by_name.items() if counts}

    def instead(
        self,
        *,
        superseded: bool = False,
        time: Time | None = None,
        bbox: Box | None = None,
        **query: Wanted,
    ) -> str:
        """Return a hint for a search without results: available values, and their times."""
        wanted = asked(query, superseded=superseded)
        entries = self.backend.search(wanted) if wanted.terms else ()
        return what_there_is(self.backend, wanted.terms, entries, in_shell)

    def names(self) -> dict[str, str]:
        """Return every name that can be searched, and its kind: ``field``, ``facet`` or ``attribute``."""
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
        """Return exactly the requested entries, each once: never the nearest match, never an arbitrary one.

        Parameters
        ----------
        dataset
            Name of the dataset.
        time
            One period such as ``"2011"``, or a range such as ``("2011-01", "2011-12")``, both ends included. All of it
            must be covered, by one entry or by consecutive entries without gaps and overlaps, which may differ only in
            ``year``, ``month`` and ``day``.
        times
            A list of separate periods such as ``["2011-01", "2012-01"]``; exactly one entry must cover each whole period.
            Pass ``time`` or ``times``, not both.
        each
            Name to values, such as ``{"member_id": ["r1i1p1f1", "r2i1p1f1"]}``: exactly one entry for each value, or
            for each combination of values and times. With ``time``, the whole period for each value.
        near
            Regions in order of preference, cheapest first. Replicas in different Regions (entries that differ only in
            the path) count as one, the one in the first of these Regions.
        **facets
            One value for each other name.

        Returns
        -------
        list of Entry
            In the requested order (values of ``each`` outside, times inside). An entry that covers several times occurs
            once.

        Raises
        ------
        MissingEntries
            If entries are missing; ``missing`` lists them, and the message lists available values.
        AmbiguousEntries
            If the request matches several entries; ``candidates`` lists them, and the message the facets that
            distinguish them.
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
        """Resolve a request as :meth:`resolve`, and return each requested item as text, with its entries in all Regions."""
        try:
            return resolve(self.backend, {"dataset": dataset, **facets}, time, times, each or {})
        except MissingEntries:
            self._refuse_unknown([*facets, *(each or {})])
            raise

    def commit(self, change: Change) -> int:
        """Write and remove entries in one atomic commit.

        Parameters
        ----------
        change
            Entries to write and to remove, and preconditions.

        Returns
        -------
        int
            Generation of the commit, higher than all before. An empty change writes nothing, and the generation is that
            of the place (0 without place).

        Raises
        ------
        StaleWriter
            If the place is no longer at ``base_generation``, or the lease is lost. Nothing was written.
        CatalogError
            If another precondition fails. Nothing was written.
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
        """Return manifest, entry digests and generation of (dataset, Region), from one commit."""
        return self.backend.committed(dataset, region)

    def tombstones(self, dataset: str, region: str) -> list[Tombstone]:
        """Return entries of (dataset, Region) that were removed and not written again."""
        return self.backend.tombstones(dataset, region)

    def lease(self, dataset: str, region: str, owner: str) -> Lease:
        """Acquire the lease to sync (dataset, Region); see :meth:`Backend.lease`."""
        return self.backend.lease(dataset, region, owner)

    def renew(self, lease: Lease) -> None:
        """Send a heartbeat of a lease; see :meth:`Backend.renew`."""
        self.backend.renew(lease)

    def release(self, lease: Lease) -> None:
        """Release a lease without a commit."""
        self.backend.release(lease)

    def migrate(self, tell: Callable[[str], None] = lambda line: None) -> bool:
        """Migrate a catalog of an older version; return whether this was necessary.

        Documents are copied, and the copy then becomes the catalog atomically. A process that is killed before leaves
        the catalog unchanged. A migration may be run again, also by several processes at once. Commits wait or are
        refused.

        Raises
        ------
        CatalogError
            If the copy is not complete, or the catalog has a newer version.
        """
        return self.backend.migrate(tell)

    def repair(self) -> dict[tuple[str, str], int]:
        """Drop damaged entries; see :meth:`Backend.repair`."""
        return self.backend.repair()

    def _refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise if no entry has one of these names. Called only after a search without results, because it is expensive."""
        known = self.backend.names()
        if known and (unknown := sorted(set(names) - set(known))):
            raise CatalogError(f"No entry has {', '.join(unknown)}. Available names: {', '.join(known)}, and time")
