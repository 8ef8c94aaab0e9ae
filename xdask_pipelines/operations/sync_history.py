"""Syncs by hand in Dagster's history, so that freshness and lineage know of them.

Belongs here: opening the history for a sync, and writing to it. Does not belong here: what is written (assets.datasets),
the sync itself (sync_by_hand).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg

from xdask_pipelines.assets.datasets import Event
from xdask_pipelines.operations.project import instance
from xdask_pipelines.topology import Topology

Record = Callable[[Event], None]


@contextmanager
def recording(topology: Topology, tell: Callable[[str], None]) -> Iterator[Record]:
    """Give a function that records an event in the project's history, which is created if it is not there.

    A history that cannot be opened or written keeps nobody from syncing: the catalog is what counts. ``tell`` is called
    with the reason.
    """
    with ExitStack() as stack:
        history: dg.DagsterInstance | None = None
        try:
            history = stack.enter_context(instance(topology))
        except Exception as error:  # no folder, no room, a database of another version: whatever storage raises
            tell(_warning(error))

        def record(event: Event) -> None:
            try:
                if history is not None:
                    history.report_runless_asset_event(event)
            except Exception as error:  # as above; the sync itself is committed
                tell(_warning(error))

        yield record


def _warning(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return (
        f"warning: this sync is not recorded in Dagster's history ({type(error).__name__}: {text}). The catalog is as "
        "reported, but the UI may show results of older data as fresh. Look with `xdask doctor`, then run `xdask sync` again"
    )
