"""What a worker does, told while it happens.

Belongs here: watching transfers, and talking to the scheduler. Does not belong here: what is made of it (worker).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import distributed.worker
from dask.typing import Key
from distributed import Scheduler, Worker
from distributed.core import error_message
from distributed.protocol.serialize import Serialize
from distributed.shuffle._core import ShuffleRun, barrier_key
from distributed.utils import thread_state  # type: ignore[attr-defined]

#: Called with keys and their bytes, and the address of the other worker.
Transferred = Callable[[list[tuple[Key, int]], str], None]


# ---- talking ----------------------------------------------------------------------------------------------------------


def tell(worker: Worker, topic: str, **values: Any) -> None:
    """Send the scheduler a message; in the worker's own thread."""
    worker.batched_send({"op": f"xdask-{topic}", **values})


def tell_from_any_thread(worker: Worker, topic: str, **values: Any) -> None:
    """Send the scheduler a message."""
    worker.loop.add_callback(worker.batched_send, {"op": f"xdask-{topic}", **values})


def key_of_thread() -> Key | None:
    """Key of the task that runs in this thread; None in threads of libraries."""
    key: Key | None = getattr(thread_state, "key", None)
    return key


def say_on_joining(worker: Worker, name: str, tell_it: Callable[[], Any]) -> None:
    """Let a worker say something of itself when it joins a scheduler, and answer the question of that name later."""
    worker.startup_information[name] = lambda _: tell_it()
    worker.handlers[name] = tell_it


def change_resources_by(worker: Worker, make: Callable[[Callable[..., Awaitable[None]]], Any]) -> None:
    """Change a worker's resources in another way; ``make`` is given Dask's."""
    worker.set_resources = make(worker.set_resources)  # type: ignore[method-assign]


def run_inside(worker: Worker, context: Callable[[], AbstractContextManager[Any]]) -> None:
    """Do what `Client.run` asks for inside a context."""
    run = worker.handlers["run"]

    async def run_inside_context(comm: Any, function: Any, **options: Any) -> Any:
        with context():
            return await run(comm, function, **options)

    worker.handlers["run"] = run_inside_context


# ---- what would end a process -----------------------------------------------------------------------------------------

#: Exceptions that end a process, and what is reported in their place.
_EXITS = (SystemExit, KeyboardInterrupt)
Instead = Callable[[BaseException], Exception]


def run_tasks_by(
    contain: Callable[[Callable[[Any], Any]], Callable[[Any], Any]],
    contain_in_loop: Callable[[Callable[[Any], Awaitable[Any]]], Callable[[Any], Awaitable[Any]]],
) -> None:
    """Let workers of this process run what functions make of their tasks; of coroutines the second one."""
    run, run_in_loop = distributed.worker._run_task_simple, distributed.worker._run_task_async

    def run_contained(task: Any, data: Any, time_delay: float) -> Any:
        return run(contain(task), data, time_delay)  # type: ignore[arg-type]

    async def run_in_loop_contained(task: Any, data: Any, time_delay: float) -> Any:
        return await run_in_loop(contain_in_loop(task), data, time_delay)  # type: ignore[arg-type]

    distributed.worker._run_task_simple = run_contained
    distributed.worker._run_task_async = run_in_loop_contained


def actors_by(worker: Worker, instead: Instead) -> None:
    """Report another error where the method of an actor raises what would end the worker."""
    execute = worker.handlers["actor_execute"]

    async def execute_contained(actor: Any = None, function: Any = None, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return await execute(actor=actor, function=function, args=args, kwargs=kwargs)
        except _EXITS as error:
            return {"status": "error", "exception": Serialize(instead(error))}

    worker.handlers["actor_execute"] = execute_contained


def runs_by(server: Worker | Scheduler, instead: Instead) -> None:
    """Report another error where what `Client.run` or `Client.run_on_scheduler` asks for would end the process."""
    name = "run" if isinstance(server, Worker) else "run_function"
    run = server.handlers[name]

    async def run_contained(comm: Any, *given: Any, **options: Any) -> Any:
        try:
            return await run(comm, *given, **options)
        except _EXITS as error:
            return error_message(instead(error))

    server.handlers[name] = run_contained


def leave_nanny_running(worker: Worker) -> None:
    """Let the nanny start a worker again whose connection to the scheduler broke; Dask ends both."""

    async def handle_scheduler(comm: Any) -> None:
        try:
            await worker.handle_stream(comm)
        finally:
            await worker.close(nanny=False, reason="xdask-scheduler-connection-broken")

    worker.handle_scheduler = handle_scheduler  # type: ignore[method-assign]


# ---- transfers --------------------------------------------------------------------------------------------------------


def result_of(worker: Worker, key: Key) -> tuple[dict[str, Any], int, Callable[[], Any]]:
    """Annotations of a task whose result a worker holds, bytes of the result, and what gets it, perhaps from disk."""
    ts = worker.state.tasks[key]
    return ts.annotations or {}, ts.nbytes or 0, lambda: worker.data[key]


def watch_received(worker: Worker, received: Transferred) -> None:
    """Call a function when results have come from another worker."""
    worker.transfer_incoming_log = _WatchedLog(worker.transfer_incoming_log, received)


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
