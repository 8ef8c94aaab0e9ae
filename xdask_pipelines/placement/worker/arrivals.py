"""Small results that arrive on a worker before it requests them.

Belongs here: keeping them until they are requested. Does not belong here: which results are sent ahead
(scheduler.result_delivery).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from dask.typing import Key
from distributed import Worker

from xdask_pipelines.placement.dask_internals.transfers import look_here_first, unpacked
from xdask_pipelines.placement.dask_internals.worker_hooks import hear_scheduler

logger = logging.getLogger("xdask.placement")
#: Limit of kept bytes. Beyond it the oldest results are dropped, and fetched from another worker when they are needed.
MAX_BYTES = 64_000_000


class Arrivals:
    """Results that were sent ahead, oldest first."""

    def __init__(self) -> None:
        self._here: dict[Key, tuple[int, Any]] = {}
        self._nbytes = 0

    def arrived(self, key: Key, nbytes: int, header: dict[str, Any], frames: Sequence[Any]) -> None:
        """Keep a result. One that cannot be unpickled is only logged; its error is raised when the result is requested."""
        try:
            value = unpacked(header, frames)
        except Exception:
            logger.exception("the result of %r was sent ahead and cannot be unpickled", key)
            return
        self.left(key)
        self._here[key] = (nbytes, value)
        self._nbytes += nbytes
        while self._nbytes > MAX_BYTES:
            self.left(next(iter(self._here)))

    def left(self, key: Key) -> None:
        """Drop a result that is no longer needed."""
        nbytes, _ = self._here.pop(key, (0, None))
        self._nbytes -= nbytes

    def take(self, keys: Iterable[Key]) -> dict[Key, Any]:
        """Remove and return those of the results that are here."""
        results = {key: self._here[key][1] for key in keys if key in self._here}
        for key in results:
            self.left(key)
        return results


def expect_arrivals(worker: Worker) -> None:
    """Let a worker receive results that its scheduler sends ahead."""
    arrivals = Arrivals()
    hear_scheduler(worker, "arrived", arrivals.arrived)
    hear_scheduler(worker, "left", arrivals.left)
    look_here_first(worker, arrivals.take)
