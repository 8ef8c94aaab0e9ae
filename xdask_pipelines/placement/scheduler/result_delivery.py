"""Small results are sent to the client's Region as soon as they are computed, which saves a round trip.

Belongs here: choosing the results that are sent ahead, keeping them on the scheduler until the client gathers them, and
passing them on to the worker in the client's Region. Does not belong here: larger results, which are requested as in
plain Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from dask.typing import Key
from distributed import Scheduler, Worker, WorkerPlugin

from xdask_pipelines.placement.dask_internals.result_copies import packed, parts_of
from xdask_pipelines.placement.dask_internals.scheduler_requests import answer, handle, handler, tell_worker
from xdask_pipelines.placement.dask_internals.task_states import TaskState, annotate
from xdask_pipelines.placement.dask_internals.transfers import result_of
from xdask_pipelines.placement.dask_internals.worker_hooks import tell

#: Limits of the size and the number of results that are sent ahead for one computation: the scheduler keeps them in
#: memory.
MAX_BYTES = 1_000_000
MAX_RESULTS = 8
#: Annotation that asks a worker to send a result ahead. A user's task may have it too, but only results that
#: `Deliveries` expects are kept.
_ANNOTATION = "xdask_deliver"


class Deliveries:
    """Results that the scheduler keeps until their client gathers them, and results that were passed on to a worker.

    Parameters
    ----------
    pool
        Returns the addresses of the workers in the client's Region.
    """

    def __init__(self, pool: Callable[[], Sequence[str]]) -> None:
        self._pool = pool
        self._for_client: set[Key] = set()
        self._for_pool: set[Key] = set()
        self._passed_on: dict[Key, str] = {}
        self._expected: set[tuple[str, frozenset[Key]]] = set()
        self._here: dict[Key, Any] = {}

    def __len__(self) -> int:
        return len(self._here)

    def start(self, scheduler: Scheduler) -> None:
        """Register the handlers: clients announce the results that they will gather, and gather them from here."""
        self._scheduler = scheduler
        gather = handler(scheduler, "gather")

        async def gather_here_first(keys: Collection[Key], serializers: list[str] | None = None) -> Any:
            here = {key: self._here.pop(key) for key in keys if key in self._here}
            if len(here) == len(keys):
                return {"status": "OK", "data": here}
            reply = await gather(keys=[key for key in keys if key not in here], serializers=serializers)
            return {**reply, "data": {**here, **reply["data"]}} if reply["status"] == "OK" else reply

        handle(scheduler, "gather", gather_here_first)
        answer(scheduler, "expect", self._expect)

    def mark(self, client: str, outputs: frozenset[Key], tasks: Iterable[TaskState]) -> None:
        """Ask workers to send the results of a new computation ahead, if its client will gather them."""
        if (client, outputs) not in self._expected:
            return
        self._expected.discard((client, outputs))
        for ts in tasks:
            if ts.key in outputs:
                self._send_ahead(ts, self._for_client)

    def mark_for_pool(self, ts: TaskState) -> None:
        """Ask a worker to send a result ahead that a task in the client's Region needs."""
        self._send_ahead(ts, self._for_pool)

    @staticmethod
    def _send_ahead(ts: TaskState, receivers: set[Key]) -> None:
        receivers.add(ts.key)
        annotate(ts, {**(ts.annotations or {}), _ANNOTATION: True})

    def expect_no_more(self, client: str, outputs: Iterable[Key]) -> None:
        """Note that a computation has ended, possibly before any of its tasks existed."""
        self._expected.discard((client, frozenset(outputs)))

    def came(self, key: Key, nbytes: int, data: Any) -> tuple[bool, str | None]:
        """Keep or pass on a result that a worker sent ahead, before the message that its task is done.

        Returns
        -------
        Whether the result is kept for its client; the worker to which it was passed on, if any.
        """
        if kept := key in self._for_client:
            self._here[key] = data
        if key not in self._for_pool or len(pool := self._pool()) != 1 or (parts := parts_of(data)) is None:
            return kept, None
        tell_worker(self._scheduler, pool[0], "xdask-arrived", key=key, nbytes=nbytes, header=parts[0], frames=parts[1])
        self._passed_on[key] = pool[0]
        return kept, pool[0]

    def left(self, key: Key, *, forgotten: bool) -> None:
        """Drop a result that was released or lost, or whose task was forgotten."""
        self._here.pop(key, None)
        if forgotten:
            self._for_client.discard(key)
            self._for_pool.discard(key)
        # The worker must drop it too: a later task may have the same key.
        if (address := self._passed_on.pop(key, None)) in self._scheduler.stream_comms:
            tell_worker(self._scheduler, str(address), "xdask-left", key=key)

    def drop_client(self, client: str) -> None:
        """Forget the announcements of a client that left."""
        self._expected = {(c, outputs) for c, outputs in self._expected if c != client}

    def clear(self) -> None:
        """Forget all results and announcements."""
        for known in (self._expected, self._here, self._for_client, self._for_pool):
            known.clear()
        self._passed_on.clear()

    def _expect(self, client: str, keys: Iterable[Key]) -> None:
        if 0 < len(outputs := frozenset(keys)) <= MAX_RESULTS:
            self._expected.add((client, outputs))


class Deliver(WorkerPlugin):
    """Sends small results to the scheduler when they are computed, ahead of the message that their task is done."""

    name = "xdask-deliver"

    def setup(self, worker: Worker) -> None:
        """Remember the worker."""
        self._worker = worker

    def transition(self, key: Key, start: str, finish: str, **kwargs: Any) -> None:
        """Send the result of a task that has just been computed, if it was asked for and is small."""
        if finish != "memory" or start not in ("executing", "long-running"):
            return
        annotations, nbytes, read = result_of(self._worker, key)
        # A result that cannot be serialized is not sent: it would end the worker's connection. The client gets the
        # error when it gathers.
        if annotations.get(_ANNOTATION) and nbytes <= MAX_BYTES and (data := packed(read())) is not None:
            tell(self._worker, "delivered", key=key, nbytes=nbytes, data=data)
