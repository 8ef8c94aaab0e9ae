"""Transfers of results between workers and to clients: observing, supplying and delaying them.

Belongs here: results that a worker holds, fetches and sends. Does not belong here: other messages (worker_hooks), uses
of the observations (worker).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Literal

from dask.typing import Key
from distributed import Worker
from distributed.protocol.serialize import deserialize
from distributed.shuffle._core import ShuffleRun, barrier_key
from distributed.worker_state_machine import GatherDepNetworkFailureEvent, GatherDepSuccessEvent

#: Callback with keys and their bytes, and the address of the other worker.
Transferred = Callable[[list[tuple[Key, int]], str], None]


def unpacked(header: dict[str, Any], frames: Sequence[Any]) -> Any:
    """Deserialize a result from `result_copies.packed`."""
    return deserialize(header, list(frames))


def result_of(worker: Worker, key: Key) -> tuple[dict[str, Any], int, Callable[[], Any]]:
    """Return annotations of a task, the bytes of its result on a worker, and a function that loads the result."""
    ts = worker.state.tasks[key]
    return ts.annotations or {}, ts.nbytes or 0, lambda: worker.data[key]


def watch_received(worker: Worker, received: Transferred) -> None:
    """Call a function when results have arrived from another worker."""
    worker.transfer_incoming_log = _WatchedLog(worker.transfer_incoming_log, received)


def look_here_first(worker: Worker, take: Callable[[Iterable[Key]], dict[Key, Any]]) -> None:
    """Supply a worker with results from ``take`` before it fetches the remaining ones from another worker."""
    gather = worker.gather_dep

    async def gather_the_rest(worker: str, to_gather: Collection[Key], total_nbytes: int, *, stimulus_id: str) -> Any:
        here = take(to_gather)
        if rest := [key for key in to_gather if key not in here]:
            event = await gather(worker=worker, to_gather=rest, total_nbytes=total_nbytes, stimulus_id=stimulus_id)
            if not isinstance(event, GatherDepSuccessEvent):
                return event
            here |= event.data
        return GatherDepSuccessEvent(worker=worker, total_nbytes=total_nbytes, data=here, stimulus_id=stimulus_id)

    worker.gather_dep = gather_the_rest  # type: ignore[method-assign]


def watch_fetches(worker: Worker, begin: Callable[[str], Callable[[bool], None]]) -> None:
    """Call a function with the address of the peer when a fetch begins.

    The function that it returns is called when the fetch has ended, with False if the network was the reason.
    """
    gather = worker.gather_dep

    async def watched(worker: str, to_gather: Collection[Key], total_nbytes: int, *, stimulus_id: str) -> Any:
        end, event = begin(worker), None
        try:
            event = await gather(worker=worker, to_gather=to_gather, total_nbytes=total_nbytes, stimulus_id=stimulus_id)
            return event
        finally:
            end(not isinstance(event, GatherDepNetworkFailureEvent))

    worker.gather_dep = watched  # type: ignore[method-assign]


def whereabouts(worker: Worker, key: Key) -> Literal["here", "coming", "unknown"]:
    """Return where a result is for a worker: here (memory or disk), coming from another worker, or unknown."""
    if key in worker.data:
        return "here"
    ts = worker.state.tasks.get(key)
    return "coming" if ts and ts.state in ("fetch", "flight") else "unknown"


def give_after(worker: Worker, until_here: Callable[[Collection[Key]], Awaitable[None]]) -> None:
    """Let requests of other workers for results wait for a coroutine function."""
    give = worker.handlers["get_data"]

    async def give_when_here(comm: Any, keys: Any, who: str | None = None, serializers: Any = None) -> Any:
        if who:
            await until_here(keys)
        return await give(comm, keys, who, serializers)

    worker.handlers["get_data"] = give_when_here


def watch_given(worker: Worker, given: Callable[[list[tuple[Key, int]]], None]) -> None:
    """Call a function when results are about to be sent to a client.

    The worker's own log has the transfer only after the client's confirmation, one round trip over the WAN later. Each
    computation would have to wait that long for complete evidence.
    """
    give = worker.handlers["get_data"]

    async def watched_give(comm: Any, keys: Any, who: str | None = None, serializers: Any = None) -> Any:
        # Other workers pass their address, and report what they receive; a request without an address comes from a
        # client.
        return await give(comm if who else _WatchedComm(worker, comm, given), keys, who, serializers)

    worker.handlers["get_data"] = watched_give


def watch_shuffled(sent: Callable[[Key, str, int], None]) -> None:
    """Call a function when a P2P shuffle of this process has sent a piece: its barrier's key, the receiver, bytes.

    Shuffles send their pieces past the transfer logs.
    """
    send = ShuffleRun.send

    async def watched_send(self: ShuffleRun[Any, Any], address: str, shards: Any) -> Any:
        answer = await send(self, address, shards)
        sent(barrier_key(self.id), address, _nbytes(shards))
        return answer

    ShuffleRun.send = watched_send  # type: ignore[method-assign]


class _WatchedLog(deque[dict[str, Any]]):
    """The worker's own log of received results, bounded as before, which also calls a function."""

    def __init__(self, log: deque[dict[str, Any]], received: Transferred) -> None:
        super().__init__(log, log.maxlen)
        self._received = received

    def append(self, entry: dict[str, Any]) -> None:
        super().append(entry)
        self._received(list(entry["keys"].items()), entry["who"])


class _WatchedComm:
    """A connection to a client that reports the results that are sent over it at once."""

    def __init__(self, worker: Worker, comm: Any, given: Callable[[list[tuple[Key, int]]], None]) -> None:
        self._worker, self._comm, self._given = worker, comm, given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._comm, name)

    async def write(self, message: dict[str, Any], **options: Any) -> Any:
        """Send a message."""
        tasks = self._worker.state.tasks
        if keys := [(key, tasks[key].nbytes or 0) for key in message.get("data", ())]:
            self._given(keys)
        return await self._comm.write(message, **options)


def _nbytes(shards: Any) -> int:
    """Return the bytes of arrays or tables in nested lists, or of pickled data."""
    if isinstance(shards, (list, tuple)):
        return sum(map(_nbytes, shards))
    if isinstance(shards, bytes):
        return len(shards)
    return int(getattr(shards, "nbytes", 0))
