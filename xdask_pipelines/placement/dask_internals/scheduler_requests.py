"""Requests of clients and workers to a scheduler: new ones of ours, and Dask's own with replaced handlers.

Belongs here: entering functions into the scheduler's tables of handlers. Does not belong here: the functions.

Messages of workers have separate handlers. Dask's documented way, to log an event, is open to clients too, which could
then report reads and transfers that never happened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Client, Scheduler

Handler = Callable[..., Any]
#: A handler: returns a value, writes to the connection ``comm``, or raises.
AsyncHandler = Callable[..., Awaitable[Any]]


def answer(scheduler: Scheduler, question: str, function: Handler) -> None:
    """Register a function that answers a request of clients; its errors are raised on the client."""
    scheduler.handlers[f"xdask_{question}"] = function


def ask(client: Client, question: str, /, **values: Any) -> Any:
    """Send a request to a scheduler; return None if it does not know the request.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """
    return client.sync(getattr(client.scheduler, f"xdask_{question}"), **values)


def hear(scheduler: Scheduler, topic: str, function: Handler) -> None:
    """Call a function for each message of workers on a topic, with its values and the worker's address as ``worker``."""
    scheduler.stream_handlers[f"xdask-{topic}"] = function


def tell_worker(scheduler: Scheduler, address: str, op: str, **values: Any) -> None:
    """Send a message to a worker: one of Dask's own, or one registered by `worker_hooks.hear_scheduler`."""
    scheduler.stream_comms[address].send({"op": op, **values})


def handler(scheduler: Scheduler, request: str) -> Handler:
    """Return the handler of one of Dask's own requests."""
    current: Handler = scheduler.handlers[request]
    return current


def handle(scheduler: Scheduler, request: str, function: Handler) -> None:
    """Replace the handler of one of Dask's own requests."""
    if request not in scheduler.handlers:
        raise KeyError(f"Dask has no request {request!r}")
    scheduler.handlers[request] = function


def handle_cancel(scheduler: Scheduler, make: Callable[[Handler], Handler]) -> None:
    """Replace the method that cancels tasks; ``make`` gets Dask's method, which calls itself for dependents."""
    scheduler.stimulus_cancel = scheduler.stream_handlers["cancel-keys"] = make(scheduler.stimulus_cancel)  # type: ignore[method-assign]


def handle_nanny_plugins(scheduler: Scheduler, function: AsyncHandler) -> None:
    """Replace the handler that registers nanny plugins, which clients and other plugins use."""
    scheduler.register_nanny_plugin = function  # type: ignore[assignment, method-assign]
    scheduler.handlers["register_nanny_plugin"] = function


def ask_worker(scheduler: Scheduler, address: str, question: str) -> Awaitable[Any]:
    """Send a request to a worker that `worker_hooks.say_on_joining` registered."""
    reply: Awaitable[Any] = getattr(scheduler.rpc(address), question)()
    return reply
