"""Results that go from worker to worker, and to clients: watched, found here, waited for.

Belongs here: what a worker holds, gets and gives. Does not belong here: other talk (worker_hooks), what is made of it
(worker).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Literal

from dask.typing import Key
from distributed import Worker
from distributed.protocol.serialize import deserialize
from distributed.shuffle._core import ShuffleRun, barrier_key
from distributed.worker_state_machine import GatherDepSuccessEvent

#: Called with keys and their bytes, and the address of the other worker.
Transferred = Callable[[list[tuple[Key, int]], str], None]


def unpacked(header: dict[str, Any], frames: Sequence[Any]) -> Any:
    """A result that travelled as `result_copies.packed` made it."""
    return deserialize(header, list(frames))


def result_of(worker: Worker, key: Key) -> tuple[dict[str, Any], int, Callable[[], Any]]:
    """Annotations of a task whose result a worker holds, bytes of the result, and what gets it, perhaps from disk."""
    ts = worker.state.tasks[key]
    return ts.annotations or {}, ts.nbytes or 0, lambda: worker.data[key]


def watch_received(worker: Worker, received: Transferred) -> None:
    """Call a function when results have come from another worker."""
    worker.transfer_incoming_log = _WatchedLog(worker.transfer_incoming_log, received)


def look_here_first(worker: Worker, take: Callable[[Iterable[Key]], dict[Key, Any]]) -> None:
    """Give a worker results that it would get from another one: those that ``take`` has of the keys it is asked for."""
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


def whereabouts(worker: Worker, key: Key) -> Literal["here", "coming", "unknown"]:
    """Where a result is for a worker: in its memory or on its disk, on its way from another worker, or neither."""
    if key in worker.data:
        return "here"
    ts = worker.state.tasks.get(key)
    return "coming" if ts and ts.state in ("fetch", "flight") else "unknown"


def give_after(worker: Worker, until_here: Callable[[Collection[Key]], Awaitable[None]]) -> None:
    """Let other workers, which ask for results, wait for a coroutine function."""
    give = worker.handlers["get_data"]

    async def give_when_here(comm: Any, keys: Any, who: str | None = None, serializers: Any = None) -> Any:
        if who:
            await until_here(keys)
        return await give(comm, keys, who, serializers)

    worker.handlers["get_data"] = give_when_here


def watch_given(worker: Worker, given: Callable[[list[tuple[Key, int]]], None]) -> None:
    """Call a function when results are about to go to a client.

    The worker's own log knows of it only when the client has said that all arrived: one round trip over the WAN later, for
    which each computation would wait before its evidence is whole.
    """
    give = worker.handlers["get_data"]

    async def watched_give(comm: Any, keys: Any, who: str | None = None, serializers: Any = None) -> Any:
        # Other workers say who they are, and tell what they received; who says nothing is the client.
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
    """The worker's own log of what it received, bounded as before, which also tells."""

    def __init__(self, log: deque[dict[str, Any]], received: Transferred) -> None:
        super().__init__(log, log.maxlen)
        self._received = received

    def append(self, entry: dict[str, Any]) -> None:
        super().append(entry)
        self._received(list(entry["keys"].items()), entry["who"])


class _WatchedComm:
    """A connection to a client, which tells at once what goes over it."""

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
    """Bytes of the arrays or tables in nested lists, or of what was pickled."""
    if isinstance(shards, (list, tuple)):
        return sum(map(_nbytes, shards))
    if isinstance(shards, bytes):
        return len(shards)
    return int(getattr(shards, "nbytes", 0))
