"""Migration from an older mapping: documents are copied into new indices (a new *room*), to which the head then points.

The migration is the only writer, and changes the head once, like a commit: no other commit can come between copy and
change, and a process that is killed before leaves the catalog unchanged. A room is recorded in the head before it is
created, so that abandoned rooms are found.

Belongs here: copying, and removing old rooms. Does not belong here: the mapping (opensearch_query).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from opensearchpy import OpenSearch

from xdask_pipelines.catalog.opensearch import opensearch_head
from xdask_pipelines.catalog.opensearch.opensearch_answers import whole
from xdask_pipelines.catalog.opensearch.opensearch_head import Head, HeadDocument
from xdask_pipelines.catalog.opensearch.opensearch_index import Documents
from xdask_pipelines.catalog.opensearch.opensearch_node import MAX_BODY_BYTES, Node
from xdask_pipelines.catalog.opensearch.opensearch_query import garbage
from xdask_pipelines.errors import CatalogError

Tell = Callable[[str], None]
#: Number of small documents that the node copies at once.
_MAX_BATCH = 1_000
#: Assumed size of documents without a measured size: that of a piece of a manifest.
_UNMEASURED_BYTES = 1_000_000
_LOOK_SECONDS = 0.2
_TELL_SECONDS = 5.0


def migrate(node: Node, tell: Tell) -> bool:
    """See :meth:`xdask_pipelines.catalog.backend.Backend.migrate`."""
    heads = HeadDocument(node, older=True)
    wanted = opensearch_head.SCHEMA_VERSION
    head = heads.load()
    if head.schema == wanted and not head.left:
        return False
    if head.schema < wanted:
        tell(f"waiting for other writers of the catalog at {node.address}")
        _move(node, heads, wanted, tell)
    _clear(node, heads, heads.load(), tell)
    return True


def _move(node: Node, heads: HeadDocument, wanted: int, tell: Tell) -> None:
    head, attempt = heads.begin()
    try:
        if head.schema == wanted:  # another migration was faster
            heads.abort(attempt, written=False)
            return
        room = f"{wanted}.{attempt.number}"
        before = head.room
        with heads.alive(attempt):
            heads.amend(attempt, lambda head: replace(head, left=tuple(dict.fromkeys((*head.left, room)))))
            old, new = Documents(node, head), Documents(node, replace(head, room=room))
            for region in head.regions():
                _copy(node, head, region, old, new, tell)

        def moved(head: Head) -> Head:
            left = dict.fromkeys(r for r in (*head.left, before) if r != room)
            return replace(head, schema=wanted, room=room, left=tuple(left))

        heads.finish(attempt, moved)
    except BaseException:
        with suppress(CatalogError):  # the first error is more useful
            heads.abort(attempt, written=True)
        raise
    tell(f"the catalog now has a mapping of version {wanted}")


def _copy(node: Node, head: Head, region: str, old: Documents, new: Documents, tell: Tell) -> None:
    """Copy the valid documents of one Region's index, with the versions that refuse late writers."""
    source, target = old.index(region), new.index(region)
    new.create(region)
    kept = {"bool": {"must_not": [garbage(head)]}}
    node.ask(lambda c: c.indices.refresh(index=source))
    number = node.ask(lambda c: int(whole(c.count(index=source, body={"query": kept}))["count"]))
    reasons: list[str] = []
    copied = 0
    for group, batch in _batches(node, source, kept):
        body = {
            "source": {"index": source, "query": {"bool": {"filter": [kept, *group]}}, "size": batch},
            "dest": {"index": target, "version_type": "external"},
            "conflicts": "proceed",  # with a second task, if the answer to the first request was lost
        }
        created, reason = _reindex(node, body, partial(_progress, tell, region, copied, number))
        copied += created
        reasons += filter(None, [reason])
    _end_tasks(node, [target])
    node.ask(lambda c: c.indices.refresh(index=target))
    copied = node.ask(lambda c: int(whole(c.count(index=target))["count"]))
    if copied != number:
        why = "; ".join(reasons) or "no reason was given"
        raise CatalogError(
            f"Only {copied} of {number} documents in {source} were copied ({why[:300]}). The catalog was not changed. Fix "
            f"the cause, then run `xdask catalog migrate` again"
        )
    tell(f"{region}: {copied:,} documents copied")


def _batches(node: Node, source: str, kept: Mapping[str, Any]) -> list[tuple[list[Any], int]]:
    """Return filters that divide the documents into groups, and of each group how many may be copied at once.

    The node holds a batch in memory twice. One entry of 8 MB makes the batches of its dataset small, but not those of
    other datasets. The maximum size is requested, because not all versions of OpenSearch can filter by a field without
    an index.
    """
    largest = {"largest": {"max": {"field": "bytes", "missing": _UNMEASURED_BYTES}}}
    parts = [{"kind": {"terms": {"field": "kind"}}}, {"dataset": {"terms": {"field": "dataset"}}}]
    groups = {"composite": {"size": 10_000, "sources": parts}, "aggs": largest}
    body = {"query": kept, "size": 0, "aggs": {"groups": groups}}
    buckets = node.ask(lambda c: whole(c.search(index=source, body=body))["aggregations"]["groups"]["buckets"])
    return [
        (
            [{"term": {name: value}} for name, value in group["key"].items()],
            max(1, min(_MAX_BATCH, MAX_BODY_BYTES // max(1, int(group["largest"]["value"])))),
        )
        for group in buckets
    ]


def _reindex(node: Node, body: Mapping[str, Any], progress: Callable[[int], None]) -> tuple[int, str]:
    """Let the node copy documents; return how many it wrote, and the reason if not all."""
    # A long request may lose its answer and be sent again, so a task is started and polled.
    options = {"wait_for_completion": "false"}
    task = node.ask(lambda c: str(c.reindex(body=body, params=options)["task"]))
    reported = time.monotonic()
    while not (state := node.ask(lambda c: dict(c.tasks.get(task_id=task))))["completed"]:
        if time.monotonic() - reported > _TELL_SECONDS:
            reported = time.monotonic()
            progress(state["task"]["status"]["created"])
        time.sleep(_LOOK_SECONDS)
    answer = state.get("response", {})
    return answer.get("created", 0), str(state.get("error") or answer.get("failures") or answer.get("canceled") or "")


def _progress(tell: Tell, region: str, before: int, number: int, created: int) -> None:
    tell(f"{region}: {before + created:,} of {number:,} documents copied")


def _clear(node: Node, heads: HeadDocument, head: Head, tell: Tell) -> None:
    """Remove rooms that are no longer used: after the change of the head, readers retry if their room is gone."""
    if head.attempt is not None and any(room.endswith(f".{head.attempt.number}") for room in head.left):
        return  # another migration is in progress
    for room in head.left:
        documents = Documents(node, replace(head, room=room))
        _end_tasks(node, documents.names())
        documents.drop()
    heads.change(lambda now: replace(now, left=tuple(room for room in now.left if room not in head.left)))
    tell("removed the indices of older mappings")


def _end_tasks(node: Node, indices: list[str]) -> None:
    """Cancel copies into indices, and wait for their end, because they would create removed indices again."""

    def running() -> list[str]:
        answer = node.ask(lambda c: dict(c.tasks.list(params={"actions": "*reindex", "detailed": "true"})))
        tasks = {i: t for one in answer.get("nodes", {}).values() for i, t in one["tasks"].items()}
        return [i for i, t in tasks.items() if any(f"to [{index}]" in t["description"] for index in indices)]

    while tasks := running():
        for task in tasks:
            with suppress(CatalogError):  # it has just ended
                node.ask(partial(_cancel, task=task))
        time.sleep(_LOOK_SECONDS)


def _cancel(client: OpenSearch, task: str) -> dict[str, Any]:
    return dict(client.tasks.cancel(task_id=task))
