"""Small results go to the client's Region as soon as they are made, so that nobody there need ask: a round trip saved.

Belongs here: which results go ahead, and keeping them on the scheduler until the client gathers. Does not belong here:
results that are larger, which the client asks for as with plain Dask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from dask.typing import Key
from distributed import Scheduler, Worker, WorkerPlugin

from xdask_pipelines.placement.dask_internals.result_copies import packed
from xdask_pipelines.placement.dask_internals.scheduler_requests import answer, handle, handler
from xdask_pipelines.placement.dask_internals.task_states import TaskState, annotate
from xdask_pipelines.placement.dask_internals.worker_hooks import result_of, tell

#: Largest result that goes ahead, and most results of one computation: they are the scheduler's to keep meanwhile.
MAX_BYTES = 1_000_000
MAX_RESULTS = 8
_ANNOTATION = "xdask_deliver"


class Deliveries:
    """Results on the scheduler that their client has not gathered yet."""

    def __init__(self) -> None:
        self._expected: set[tuple[str, frozenset[Key]]] = set()
        self._here: dict[Key, Any] = {}

    def __len__(self) -> int:
        return len(self._here)

    def start(self, scheduler: Scheduler) -> None:
        """Let clients say what they will gather, and gather what is here from here."""
        gather = handler(scheduler, "gather")

        async def gather_here_first(keys: Collection[Key], serializers: list[str] | None = None) -> Any:
            here = {key: self._here.pop(key) for key in keys if key in self._here}
            if len(here) == len(keys):
                return {"status": "OK", "data": here}
            found = await gather(keys=[key for key in keys if key not in here], serializers=serializers)
            return {**found, "data": {**here, **found["data"]}} if found["status"] == "OK" else found

        handle(scheduler, "gather", gather_here_first)
        answer(scheduler, "expect", self._expect)

    def mark(self, client: str, outputs: frozenset[Key], tasks: Iterable[TaskState]) -> None:
        """Ask the workers of a new computation to send its results, if its client will gather them."""
        if (client, outputs) not in self._expected:
            return
        self._expected.discard((client, outputs))
        for ts in tasks:
            if ts.key in outputs:
                annotate(ts, {**(ts.annotations or {}), _ANNOTATION: True})

    def expect_no_more(self, client: str, outputs: Iterable[Key]) -> None:
        """A computation has ended, perhaps before any of its tasks existed."""
        self._expected.discard((client, frozenset(outputs)))

    def keep(self, key: Key, data: Any) -> None:
        """A result came from a worker."""
        self._here[key] = data

    def forget(self, key: Key) -> None:
        """A result is no longer wanted, or is lost and will be made again."""
        self._here.pop(key, None)

    def drop_client(self, client: str) -> None:
        """A client left."""
        self._expected = {(c, outputs) for c, outputs in self._expected if c != client}

    def clear(self) -> None:
        """Forget all."""
        self._expected.clear()
        self._here.clear()

    def _expect(self, client: str, keys: Iterable[Key]) -> None:
        if 0 < len(outputs := frozenset(keys)) <= MAX_RESULTS:
            self._expected.add((client, outputs))


class Deliver(WorkerPlugin):
    """Sends small results to the scheduler when they are made, in the same message that says so."""

    name = "xdask-deliver"

    def setup(self, worker: Worker) -> None:
        """Remember the worker."""
        self._worker = worker

    def transition(self, key: Key, start: str, finish: str, **kwargs: Any) -> None:
        """Called for each change of a task's state."""
        if finish != "memory" or start not in ("executing", "long-running"):
            return
        annotations, nbytes, read = result_of(self._worker, key)
        # If it cannot be serialized, who asks for it is told: here it would end the worker's connection.
        if annotations.get(_ANNOTATION) and nbytes <= MAX_BYTES and (data := packed(read())) is not None:
            tell(self._worker, "delivered", key=key, nbytes=nbytes, data=data)
