"""The protocol of pools that keep running between runs, for runs, notebooks and the command line.

Belongs here: the protocol, and borrowing workers for small work such as a sync, which does not need standing pools. Does not
belong here: any kind (local_pools), which kind a topology has (pools).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from distributed import Client

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.client.roads import Road
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.markup import Markup, block, items, link, table
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology

START = "xdask pools up"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """State of the pools: the scheduler's address (empty if it is down), worker processes by Region, problems, and notes."""

    address: str
    dashboard: str
    workers: dict[str, int]
    problems: tuple[str, ...]
    instances: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def up(self) -> bool:
        """Return whether every pool can take tasks."""
        return not self.problems

    def _repr_html_(self) -> str:
        if not self.address:
            return block("Pools: not running", items(self.problems))
        rows = [(region, f"{n:,}") for region, n in sorted(self.workers.items())]
        dashboard = Markup(f"<div>Dashboard: {link(self.dashboard)}</div>" if self.dashboard else "")
        return block(
            f"Pools: {counted(sum(self.workers.values()), 'worker process', 'worker processes')}, scheduler at "
            f"{self.address}",
            table(("Region", "worker processes"), rows, right=(1,)),
            dashboard,
            items([*self.problems, *self.notes]),
        )


class Pools(Protocol):
    """Worker pools that keep running between runs, and their common scheduler."""

    topology: Topology
    #: Whether the folders of all Regions are on this machine.
    here: bool
    #: Whether workers only read their data, so that a sync needs temporary ones.
    read_only: bool

    def roads(self) -> list[Road]:
        """Measure the roads between all pools, and to the scheduler; none where all Regions are on this machine."""
        ...

    def clock_skews(self) -> dict[str, float]:
        """Return by how many seconds the clocks of other machines are ahead, by Region."""
        ...

    def up(self, tell: Tell = ...) -> Status:
        """Start the processes that are not running."""
        ...

    def down(self) -> bool:
        """Stop all processes that `up` started; return whether there were any."""
        ...

    def status(self) -> Status:
        """Which pools can take tasks."""
        ...

    @property
    def started(self) -> bool:
        """Return whether the pools were started and not stopped, even if they have ended."""
        ...

    @property
    def dashboard(self) -> str:
        """Return the address of the page of Regions; empty if the pools were not started."""
        ...

    def settings(self) -> Settings:
        """Return links, prices and pools for the scheduler and the plan."""
        ...

    def client(self) -> Client:
        """Return the connection to the scheduler, one for each process.

        Raises
        ------
        PlacementError
            If the pools are not running, or have other versions than this process.
        LostComputation
            If the pools are not running now, but were a moment ago.
        """
        ...

    def compute(self, *xs: Any, tell: Tell | None = None) -> tuple[tuple[Any, ...], Evidence]:
        """Compute lazy objects in their Regions; ``tell`` gets a line for each step of progress."""
        ...

    def temporary(self, regions: Sequence[str], tell: Tell) -> AbstractContextManager[Compute]:
        """Start workers in some Regions for the duration of a ``with`` block.

        Raises
        ------
        EmptyPool
            If this kind of pools cannot start temporary workers.
        """
        ...

    def close(self) -> None:
        """Disconnect; unfinished tasks of this process are cancelled."""
        ...


@contextmanager
def borrowed_workers(pools: Pools, regions: Sequence[str], tell: Tell) -> Iterator[Compute]:
    """Borrow workers in some Regions that may change their data, for as long as a block of code runs.

    These are the standing pools unless they only read, else temporary workers.

    Parameters
    ----------
    pools
        Used if each of the Regions has a worker there that may write.
    regions
        Worker Regions.
    tell
        Gets a line if workers are started.

    Raises
    ------
    EmptyPool
        A Region has no worker, and none can be started for a moment.
    """
    workers = {} if pools.read_only else pools.status().workers
    if all(workers.get(region) for region in regions):
        yield pools.compute
        return
    with pools.temporary(regions, tell) as compute:
        yield compute
