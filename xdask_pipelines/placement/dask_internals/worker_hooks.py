"""Hooks into a worker: messages to and from the scheduler, and errors that would end a process.

Belongs here: these hooks. Does not belong here: transfers of results (transfers), uses of the hooks (worker,
protection).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import distributed.worker
from dask.typing import Key
from distributed import Scheduler, Worker
from distributed.core import error_message
from distributed.protocol.serialize import Serialize
from distributed.utils import thread_state  # type: ignore[attr-defined]

# ---- messages
# ---------------------------------------------------------------------------------------------------------


def tell(worker: Worker, topic: str, **values: Any) -> None:
    """Send a message to the scheduler, from the worker's event loop."""
    worker.batched_send({"op": f"xdask-{topic}", **values})


def tell_from_any_thread(worker: Worker, topic: str, **values: Any) -> None:
    """Send a message to the scheduler, from any thread."""
    worker.loop.add_callback(worker.batched_send, {"op": f"xdask-{topic}", **values})


def hear_scheduler(worker: Worker, topic: str, function: Callable[..., None]) -> None:
    """Call a function for each message of the scheduler on a topic, in the order of sending."""
    worker.stream_handlers[f"xdask-{topic}"] = function


def key_of_thread() -> Key | None:
    """Return the key of the task that runs in this thread; None in threads of libraries."""
    key: Key | None = getattr(thread_state, "key", None)
    return key


def say_on_joining(worker: Worker, name: str, tell_it: Callable[[], Any]) -> None:
    """Add information to the message with which a worker joins, and register a request for it."""
    worker.startup_information[name] = lambda _: tell_it()
    worker.handlers[name] = tell_it


def change_resources_by(worker: Worker, make: Callable[[Callable[..., Awaitable[None]]], Any]) -> None:
    """Replace the method that changes a worker's resources; ``make`` gets Dask's method."""
    worker.set_resources = make(worker.set_resources)  # type: ignore[method-assign]


def run_inside(worker: Worker, context: Callable[[], AbstractContextManager[Any]]) -> None:
    """Run functions of `Client.run` inside a context."""
    run = worker.handlers["run"]

    async def run_inside_context(comm: Any, function: Any, **options: Any) -> Any:
        with context():
            return await run(comm, function, **options)

    worker.handlers["run"] = run_inside_context


# ---- what would end a process -----------------------------------------------------------------------------------------

#: Exceptions that end a process.
_EXITS = (SystemExit, KeyboardInterrupt)
Instead = Callable[[BaseException], Exception]


def run_tasks_by(
    contain: Callable[[Callable[[Any], Any]], Callable[[Any], Any]],
    contain_in_loop: Callable[[Callable[[Any], Awaitable[Any]]], Callable[[Any], Awaitable[Any]]],
) -> None:
    """Wrap the tasks of this process's workers: functions with ``contain``, coroutines with ``contain_in_loop``."""
    run, run_in_loop = distributed.worker._run_task_simple, distributed.worker._run_task_async

    def run_contained(task: Any, data: Any, time_delay: float) -> Any:
        return run(contain(task), data, time_delay)  # type: ignore[arg-type]

    async def run_in_loop_contained(task: Any, data: Any, time_delay: float) -> Any:
        return await run_in_loop(contain_in_loop(task), data, time_delay)  # type: ignore[arg-type]

    distributed.worker._run_task_simple = run_contained
    distributed.worker._run_task_async = run_in_loop_contained


def actors_by(worker: Worker, instead: Instead) -> None:
    """Replace an error that a method of an actor raises and that would end the worker."""
    execute = worker.handlers["actor_execute"]

    async def execute_contained(actor: Any = None, function: Any = None, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return await execute(actor=actor, function=function, args=args, kwargs=kwargs)
        except _EXITS as error:
            return {"status": "error", "exception": Serialize(instead(error))}

    worker.handlers["actor_execute"] = execute_contained


def runs_by(server: Worker | Scheduler, instead: Instead) -> None:
    """Replace an error of a function of `Client.run` or `Client.run_on_scheduler` that would end the process."""
    name = "run" if isinstance(server, Worker) else "run_function"
    run = server.handlers[name]

    async def run_contained(comm: Any, *given: Any, **options: Any) -> Any:
        try:
            return await run(comm, *given, **options)
        except _EXITS as error:
            return error_message(instead(error))

    server.handlers[name] = run_contained


def leave_nanny_running(worker: Worker) -> None:
    """Let the nanny restart a worker whose connection to the scheduler broke; Dask would end both."""

    async def handle_scheduler(comm: Any) -> None:
        try:
            await worker.handle_stream(comm)
        finally:
            await worker.close(nanny=False, reason="xdask-scheduler-connection-broken")

    worker.handle_scheduler = handle_scheduler  # type: ignore[method-assign]


# ---- addresses --------------------------------------------------------------------------------------------------------


def contact_by(worker: Worker, host: str) -> None:
    """Let a worker that listens already, and has not joined yet, join under another host with the same port."""
    scheme, _, rest = worker.listen_address.partition("://")
    worker.contact_address = worker._address = f"{scheme}://{host}:{rest.rpartition(':')[2]}"
