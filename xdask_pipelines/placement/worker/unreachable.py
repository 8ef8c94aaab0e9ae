"""Peers that a worker cannot connect to, reported while it waits for their results.

Belongs here: finding out, without waiting for Dask's own timeout of 30 s. Does not belong here: what the scheduler makes of
it (blocked_roads).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from distributed import Worker

from xdask_pipelines.placement.dask_internals.connections import takes_connections
from xdask_pipelines.placement.dask_internals.transfers import watch_fetches
from xdask_pipelines.placement.dask_internals.worker_hooks import tell

#: A fetch that takes longer is looked into: large results take their time, and a peer that can be reached is not reported.
LOOK_SECONDS = 2.0
#: How long a connection may take, three round trips around the world; and the pause between two attempts.
CONNECT_SECONDS, PAUSE_SECONDS = 2.5, 0.5


def report_unreachable(worker: Worker) -> None:
    """Make a worker report peers that cannot be reached, and those that can be reached again."""
    peers = _Peers(worker)
    watch_fetches(worker, peers.begin)


class _Peers:
    """Fetches that run, by peer."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._fetching: Counter[str] = Counter()
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._unreachable: set[str] = set()

    def begin(self, peer: str) -> Callable[[bool], None]:
        """Watch a fetch from a peer, and return the function to call when it ends."""
        self._fetching[peer] += 1
        if peer not in self._looking:
            self._looking[peer] = asyncio.create_task(self._look(peer))
        return lambda reached: self._end(peer, reached)

    def _end(self, peer: str, reached: bool) -> None:
        self._fetching[peer] -= 1
        if not self._fetching[peer]:
            del self._fetching[peer]
            self._looking.pop(peer).cancel()
        if not reached:
            self._report(peer)
        else:
            self._report_again(peer)

    def _report(self, peer: str) -> None:
        self._unreachable.add(peer)
        tell(self._worker, "unreachable", peer=peer)

    def _report_again(self, peer: str) -> None:
        if peer in self._unreachable:
            self._unreachable.discard(peer)
            tell(self._worker, "reachable", peer=peer)

    async def _look(self, peer: str) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        while not await takes_connections(peer, CONNECT_SECONDS):
            self._report(peer)
            await asyncio.sleep(PAUSE_SECONDS)
        self._report_again(peer)
