"""What a worker tells the scheduler of the data that it sent and received.

Belongs here: watching Dask's transfers on a worker. Does not belong here: access to files (guard), the sums (plugin).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from distributed import Worker
from distributed.shuffle._core import ShuffleRun, barrier_key


def report_transfers(worker: Worker) -> None:
    """Make a worker tell the scheduler of every transfer: task results, and the pieces of P2P shuffles."""
    worker.transfer_incoming_log = _ReportingLog(worker, worker.transfer_incoming_log, "xdask-received")
    worker.transfer_outgoing_log = _ReportingLog(worker, worker.transfer_outgoing_log, "xdask-sent")
    send = ShuffleRun.send

    async def reported(self: ShuffleRun[Any, Any], address: str, shards: Any) -> Any:
        answer = await send(self, address, shards)
        message = {"key": barrier_key(self.id), "peer": address, "nbytes": _nbytes(shards)}
        worker.batched_send({"op": "xdask-shuffled", **message})
        return answer

    # Shuffles send their pieces past the transfer logs: evidence would know nothing of them.
    ShuffleRun.send = reported  # type: ignore[method-assign]


class _ReportingLog(deque[dict[str, Any]]):
    """One of the worker's own transfer logs, bounded as before, which also tells the scheduler."""

    def __init__(self, worker: Worker, log: deque[dict[str, Any]], op: str) -> None:
        super().__init__(log, log.maxlen)
        self._worker = worker
        self._op = op

    def append(self, entry: dict[str, Any]) -> None:
        super().append(entry)
        self._worker.batched_send({"op": self._op, "keys": list(entry["keys"].items()), "peer": entry["who"]})


def _nbytes(shards: Any) -> int:
    """Bytes of the arrays or tables in nested lists, or of what was pickled."""
    if isinstance(shards, (list, tuple)):
        return sum(map(_nbytes, shards))
    if isinstance(shards, bytes):
        return len(shards)
    return int(getattr(shards, "nbytes", 0))
