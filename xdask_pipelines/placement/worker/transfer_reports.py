"""Reports of a worker to the scheduler about data that it sent and received.

Belongs here: one message for each transfer. Does not belong here: observing transfers (dask_internals.transfers),
access to files (guard), the sums (ledger).
"""

from __future__ import annotations

from dask.typing import Key
from distributed import Worker

from xdask_pipelines.placement.dask_internals.transfers import watch_given, watch_received, watch_shuffled
from xdask_pipelines.placement.dask_internals.worker_hooks import tell


def report_transfers(worker: Worker) -> None:
    """Make a worker report every transfer to the scheduler: task results, and the pieces of P2P shuffles."""

    def received(keys: list[tuple[Key, int]], peer: str) -> None:
        tell(worker, "received", keys=keys, peer=peer)

    def shuffled(barrier: Key, peer: str, nbytes: int) -> None:
        tell(worker, "shuffled", key=barrier, peer=peer, nbytes=nbytes)

    def given(keys: list[tuple[Key, int]]) -> None:
        tell(worker, "sent", keys=keys)

    watch_received(worker, received)
    watch_given(worker, given)
    watch_shuffled(shuffled)
