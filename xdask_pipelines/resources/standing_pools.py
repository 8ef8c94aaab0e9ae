"""Pools that stand between runs, of whichever kind: what a run, a notebook or the command line needs of them.

Belongs here: the protocol, and borrowing workers for small work such as a sync, which does not need standing pools. Does not
belong here: any kind (local_pools), which kind a topology has (pools).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from distributed import Client

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.topology import Topology

START = "xdask pools up"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """State of the pools: the scheduler's address (empty if down), worker processes by Region, what is wrong."""

    address: str
    dashboard: str
    workers: dict[str, int]
    problems: tuple[str, ...]

    @property
    def up(self) -> bool:
        """Whether every pool can take tasks."""
        return not self.problems


class Pools(Protocol):
    """Worker pools that stand between runs, and the scheduler that they share."""

    topology: Topology

    def up(self, tell: Tell = ...) -> Status:
        """Start what is not running, and leave what is."""
        ...

    def down(self) -> bool:
        """Stop all that `up` started; True if there was anything."""
        ...

    def status(self) -> Status:
        """Which pools can take tasks."""
        ...

    @property
    def started(self) -> bool:
        """Whether the pools were started and not stopped, alive or not."""
        ...

    @property
    def dashboard(self) -> str:
        """Address of the page of Regions; empty if the pools were not started."""
        ...

    def settings(self) -> Settings:
        """What the scheduler, and a plan, must know of links, prices and pools."""
        ...

    def client(self) -> Client:
        """A connection to the scheduler, made once for each process.

        Raises
        ------
        PlacementError
            The pools are not running, or this process does not fit them.
        LostComputation
            The pools were running a moment ago.
        """
        ...

    def compute(self, *xs: Any, tell: Tell | None = None) -> tuple[tuple[Any, ...], Evidence]:
        """Compute lazy objects in their Regions; ``tell`` gets a line for each step of progress."""
        ...

    def temporary(self, regions: Sequence[str], tell: Tell) -> AbstractContextManager[Compute]:
        """Workers in some Regions, for as long as a block of code runs.

        Raises
        ------
        EmptyPool
            This kind of pools cannot start workers for a moment.
        """
        ...

    def close(self) -> None:
        """Disconnect; unfinished tasks of this process are cancelled."""
        ...


@contextmanager
def lent(pools: Pools, regions: Sequence[str], tell: Tell) -> Iterator[Compute]:
    """Borrow workers in some Regions for as long as a block of code runs: the standing pools, else temporary workers.

    Parameters
    ----------
    pools
        Used if each of the Regions has a worker there.
    regions
        Worker Regions.
    tell
        Is told if workers are started.

    Raises
    ------
    EmptyPool
        A Region has no worker, and none can be started for a moment.
    """
    workers = pools.status().workers
    if all(workers.get(region) for region in regions):
        yield pools.compute
        return
    with pools.temporary(regions, tell) as compute:
        yield compute
