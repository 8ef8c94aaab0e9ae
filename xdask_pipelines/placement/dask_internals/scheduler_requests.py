"""What clients and workers say to a scheduler: questions of ours, and requests of Dask that are answered in another way.

Belongs here: putting functions into the tables by which a scheduler answers. Does not belong here: what they do.

Messages of workers have handlers of their own. Dask's documented way, to log an event, is open to each client too: a client
could then report reads and transfers that never were.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Client, Scheduler

Handler = Callable[..., Any]
#: Answers with a value, to the connection ``comm``, or raises.
AsyncHandler = Callable[..., Awaitable[Any]]


def answer(scheduler: Scheduler, question: str, function: Handler) -> None:
    """Let a function answer a question of clients; what it raises is raised there."""
    scheduler.handlers[f"xdask_{question}"] = function


def ask(client: Client, question: str, /, **values: Any) -> Any:
    """Ask a scheduler; None if it does not know the question.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """
    return client.sync(getattr(client.scheduler, f"xdask_{question}"), **values)


def hear(scheduler: Scheduler, topic: str, function: Handler) -> None:
    """Call a function for each message of workers on a topic, with its values and ``worker``, the address."""
    scheduler.stream_handlers[f"xdask-{topic}"] = function


def tell_worker(scheduler: Scheduler, address: str, op: str, **values: Any) -> None:
    """Send a worker a message: of Dask's own, or one that `worker_hooks.hear_scheduler` lets it hear."""
    scheduler.stream_comms[address].send({"op": op, **values})


def handler(scheduler: Scheduler, request: str) -> Handler:
    """What answers a request of Dask's own."""
    found: Handler = scheduler.handlers[request]
    return found


def handle(scheduler: Scheduler, request: str, function: Handler) -> None:
    """Answer a request of Dask's own in another way."""
    if request not in scheduler.handlers:
        raise KeyError(f"Dask has no request {request!r}")
    scheduler.handlers[request] = function


def handle_cancel(scheduler: Scheduler, make: Callable[[Handler], Handler]) -> None:
    """Cancel tasks in another way; ``make`` is given Dask's, which calls itself for what needs a cancelled task."""
    scheduler.stimulus_cancel = scheduler.stream_handlers["cancel-keys"] = make(scheduler.stimulus_cancel)  # type: ignore[method-assign]


def handle_nanny_plugins(scheduler: Scheduler, function: AsyncHandler) -> None:
    """Register nanny plugins in another way: by clients, and by plugins that install packages or upload folders."""
    scheduler.register_nanny_plugin = function  # type: ignore[assignment, method-assign]
    scheduler.handlers["register_nanny_plugin"] = function


def ask_worker(scheduler: Scheduler, address: str, question: str) -> Awaitable[Any]:
    """Ask a worker what `worker_hooks.answer` lets it answer."""
    asked: Awaitable[Any] = getattr(scheduler.rpc(address), question)()
    return asked
