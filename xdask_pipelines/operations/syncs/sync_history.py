"""Syncs by hand in Dagster's history, so that freshness and lineage include them.

Belongs here: opening the history for a sync, and writing to it. Does not belong here: what is written (assets.datasets), the
sync itself (sync_by_hand).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dagster as dg

from xdask_pipelines.assets.datasets import SyncRecord
from xdask_pipelines.operations.project import instance
from xdask_pipelines.topology import Topology

Record = Callable[[SyncRecord], dict[str, Any]]


@contextmanager
def recording(topology: Topology, tell: Callable[[str], None]) -> Iterator[Record]:
    """Open the project's history, and create it if it is missing.

    Yields a function that writes the event of a record there, and returns the document of the record. A history that cannot
    be opened or written stops no sync, because the catalog is what counts; ``tell`` is called with the reason.
    """
    with ExitStack() as stack:
        history: dg.DagsterInstance | None = None
        try:
            history = stack.enter_context(instance(topology))
        except Exception as error:  # any error of the storage: missing folder, full disk, another database version
            tell(_warning(error))

        def record(outcome: SyncRecord) -> dict[str, Any]:
            try:
                if history is not None:
                    history.report_runless_asset_event(outcome.event)
            except Exception as error:  # as above; the sync itself is committed
                tell(_warning(error))
            return outcome.document

        yield record


def _warning(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return (
        f"warning: this sync is not recorded in Dagster's history ({type(error).__name__}: {text}). The catalog is as "
        "reported, but the UI may show results of older data as fresh. Look with `xdask doctor`, then run `xdask sync` again"
    )
