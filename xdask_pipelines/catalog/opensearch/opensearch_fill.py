"""Filling OpenSearch with a whole catalog, as one commit that becomes visible when the head changes.

Belongs here: writing another store's contents. Does not belong here: commits of syncs (opensearch_write).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from xdask_pipelines.catalog.backend import Change, Contents, ManifestChange
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.opensearch.opensearch_head import Head, HeadDocument, PlaceRecord
from xdask_pipelines.catalog.opensearch.opensearch_index import Documents
from xdask_pipelines.catalog.opensearch.opensearch_node import Node
from xdask_pipelines.catalog.opensearch.opensearch_write import OpenSearchCommit
from xdask_pipelines.catalog.preconditions import check_empty
from xdask_pipelines.errors import CatalogError


def fill(node: Node, heads: HeadDocument, contents: Iterable[Contents], newest: int) -> None:
    """See :meth:`xdask_pipelines.catalog.backend.Backend.fill`.

    The counter in the head is first set to the generation before ``newest``, so that the commit has the highest number.
    """

    def counted(head: Head) -> Head:
        _check_empty(head)
        return replace(head, generation=max(head.generation, newest - 1))

    heads.change(counted)
    head, attempt = heads.begin()
    writer = OpenSearchCommit(Documents(node, head), head, attempt.number, as_they_are=True)
    places: dict[tuple[str, str], tuple[PlaceRecord, int]] = {}
    try:
        with heads.alive(attempt):
            for held in contents:
                change = Change(
                    upserts=held.entries,
                    dataset=held.dataset,
                    region=held.region,
                    manifest=ManifestChange(put=ObjectTable.in_order(held.objects.parts())),
                    expected_entries=len(held.entries),
                )
                writer.write(change)
                writer.bury(held.dataset, held.region, held.tombstones)
                place = PlaceRecord(generation=held.generation, entries=len(held.entries), holdings=held.holdings)
                places[held.dataset, held.region] = place, writer.pieces

        def edit(now: Head) -> Head:
            _check_empty(now)
            for (dataset, region), (place, pieces) in places.items():
                now = now.with_place(dataset, region, place).with_pieces(dataset, region, pieces)
            return now

        heads.finish(attempt, edit)
    except BaseException:
        with suppress(CatalogError):  # the first error is more useful; the next writer aborts this attempt
            heads.abort(attempt, written=writer.written)
        raise
    Documents(node, heads.load()).refresh()


def _check_empty(head: Head) -> None:
    check_empty({place: head.place(*place).generation for place in head.known()})
