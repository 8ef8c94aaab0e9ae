"""P2P shuffles stay within pools, including pools that have no worker yet.

Belongs here: the worker restrictions of a shuffle's barrier. Does not belong here: in which Region a shuffle gathers its
output (placement_rules).

A P2P shuffle ignores resources. It spreads its output over the addresses in the worker restrictions of its barrier, and
over all workers if there are none. The spread is fixed when the first transfer task runs: transfers of a shuffle whose
output pool is empty therefore wait until a worker joins that pool.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.scheduling import resume
from xdask_pipelines.placement.dask_internals.task_states import TaskState, restrict

#: An address that no worker has: a task that is restricted to it waits.
NOBODY = "no-worker://yet"


class Shuffles:
    """Barriers of P2P shuffles, and the pools over which they spread their output.

    Parameters
    ----------
    addresses
        Returns the addresses of the workers of a Region's pool.
    """

    def __init__(self, addresses: Callable[[str], Collection[str]]) -> None:
        self._addresses = addresses
        self._barriers: dict[Key, str] = {}
        self._waiting: dict[Key, str] = {}
        self._ready: list[Key] = []

    def bind(self, barrier: TaskState, region: str) -> None:
        """Spread the output of a shuffle over the pool of a Region."""
        self._barriers[barrier.key] = region
        self._restrict(barrier, region)

    def pool_of_wait(self, key: Key) -> str | None:
        """Return the Region of the pool whose first worker a transfer task waits for; None for other tasks."""
        return self._waiting.get(key)

    def regions(self) -> set[str]:
        """Return the Regions whose pools receive the output of shuffles."""
        return set(self._barriers.values())

    def update(self, scheduler: Scheduler, region: str) -> None:
        """Adapt shuffles to a pool that gained or lost a worker, and release transfers that waited for its first worker."""
        for key, bound in list(self._barriers.items()):
            if bound == region and (barrier := scheduler.tasks.get(key)):
                self._restrict(barrier, region)

    def resume(self, scheduler: Scheduler) -> None:
        """Run transfers whose pool now has a worker. The plugin calls this twice a second."""
        resume(scheduler, self._ready)
        self._ready.clear()

    def forget(self, key: Key) -> None:
        """Forget a task."""
        self._barriers.pop(key, None)
        self._waiting.pop(key, None)

    def clear(self) -> None:
        """Forget all shuffles."""
        self._barriers.clear()
        self._waiting.clear()
        self._ready.clear()

    def _restrict(self, barrier: TaskState, region: str) -> None:
        addresses = set(self._addresses(region))
        restrict(barrier, addresses or {NOBODY})
        for transfer in barrier.dependencies:
            if addresses and transfer.key in self._waiting:
                del self._waiting[transfer.key]
                restrict(transfer, None)
                self._ready.append(transfer.key)
            elif not addresses:
                self._waiting[transfer.key] = region
                restrict(transfer, {NOBODY})
