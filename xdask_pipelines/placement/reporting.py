"""What a worker tells the scheduler of the data that it sent and received.

Belongs here: watching Dask's transfers on a worker. Does not belong here: access to files (guard), the sums (plugin).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from distributed import Worker
from distributed.shuffle._core import ShuffleRun, barrier_key

from xdask_pipelines.placement.survival import survive


def report_transfers(worker: Worker) -> None:
    """Make a worker tell the scheduler of every transfer: task results, and the pieces of P2P shuffles."""
    survive(worker)  # what a worker has not told when it ends is lost
    worker.transfer_incoming_log = _ReportingLog(worker, worker.transfer_incoming_log)
    give = worker.handlers["get_data"]

    async def reported_give(comm: Any, keys: Any, who: str | None = None, serializers: Any = None) -> Any:
        # Other workers say who they are, and tell what they received; who says nothing is the client.
        return await give(comm if who else _ReportingComm(worker, comm), keys, who, serializers)

    worker.handlers["get_data"] = reported_give
    send = ShuffleRun.send

    async def reported_send(self: ShuffleRun[Any, Any], address: str, shards: Any) -> Any:
        answer = await send(self, address, shards)
        message = {"key": barrier_key(self.id), "peer": address, "nbytes": _nbytes(shards)}
        worker.batched_send({"op": "xdask-shuffled", **message})
        return answer

    # Shuffles send their pieces past the transfer logs: evidence would know nothing of them.
    ShuffleRun.send = reported_send  # type: ignore[method-assign]


class _ReportingLog(deque[dict[str, Any]]):
    """The worker's own log of what it received, bounded as before, which also tells the scheduler."""

    def __init__(self, worker: Worker, log: deque[dict[str, Any]]) -> None:
        super().__init__(log, log.maxlen)
        self._worker = worker

    def append(self, entry: dict[str, Any]) -> None:
        super().append(entry)
        message = {"keys": list(entry["keys"].items()), "peer": entry["who"]}
        self._worker.batched_send({"op": "xdask-received", **message})


class _ReportingComm:
    """A connection to the client, which tells the scheduler what goes over it, and tells it at once.

    The worker's own log knows of it only when the client has said that all arrived: one round trip over the WAN later, for
    which each computation would wait before its evidence is whole.
    """

    def __init__(self, worker: Worker, comm: Any) -> None:
        self._worker, self._comm = worker, comm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._comm, name)

    async def write(self, message: dict[str, Any], **options: Any) -> Any:
        """Send a message."""
        tasks = self._worker.state.tasks
        if keys := [(key, tasks[key].nbytes or 0) for key in message.get("data", ())]:
            self._worker.batched_send({"op": "xdask-sent", "keys": keys})
        return await self._comm.write(message, **options)


def _nbytes(shards: Any) -> int:
    """Bytes of the arrays or tables in nested lists, or of what was pickled."""
    if isinstance(shards, (list, tuple)):
        return sum(map(_nbytes, shards))
    if isinstance(shards, bytes):
        return len(shards)
    return int(getattr(shards, "nbytes", 0))
