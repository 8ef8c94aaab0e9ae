"""What all kinds of pools do once there is a scheduler: connect, report their state, compute.

Belongs here: a client of the standing scheduler and its errors. Does not belong here: starting and stopping processes
(local_pools, attached_pools).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from distributed import Client

from xdask_pipelines.errors import LostComputation, PlacementError
from xdask_pipelines.placement import Evidence, check_scheduler, compute
from xdask_pipelines.placement.client.compute import Progress
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.client.roads import Road, clock_skews, measure_roads
from xdask_pipelines.placement.client.scheduler_rpc import RegionProgress, SchedulerRPC
from xdask_pipelines.placement.local import tls
from xdask_pipelines.resources.pools.standing_pools import Status, Tell
from xdask_pipelines.topology import Topology

CONNECT_SECONDS = 5.0


class ConnectedPools(ABC):
    """Pools that share a standing scheduler.

    Parameters
    ----------
    topology
        Names the Regions and their folders.
    watch
        Called about twice a second while something is computed, with tasks done and planned by Region.
    note
        Called with a line for what delays a computation.
    """

    #: Whether the folders of all Regions are on this machine.
    here: bool
    #: Whether workers only read their data, so that a sync needs others.
    read_only = False

    def __init__(self, topology: Topology, watch: Progress | None = None, note: Tell | None = None) -> None:
        self.topology = topology
        self._watch, self._note = watch, note
        self._client: Client | None = None
        self._connecting = Lock()

    # ---- what a kind knows ----------------------------------------------------------------------------------------

    @abstractmethod
    def _scheduler(self) -> str:
        """Return the scheduler's address; empty if it was not started."""

    @abstractmethod
    def _start(self) -> str:
        """Return how to start what was not started, as a clause that "then run again" may follow."""

    @abstractmethod
    def _restart(self) -> str:
        """Return what to do about a scheduler that does not answer, as such a clause."""

    @property
    @abstractmethod
    def dashboard(self) -> str:
        """Address of the page of Regions; empty if it is unknown."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.topology.root}: {self._scheduler() or 'not running'}>"

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()

    @abstractmethod
    def status(self) -> Status:
        """Return the state of the processes, and which pools can take tasks."""

    # ---- what all kinds do ------------------------------------------------------------------------------------------

    def existing_certificates(self) -> Path | None:
        """Return the folder of the project's certificates; None before any were created."""
        folder = self.topology.certificates
        return folder if tls.has_certificates(folder) else None

    def connected(self) -> Client:
        """Return a new client of the scheduler.

        Raises
        ------
        OSError
            The scheduler does not answer.
        PlacementError
            This process does not fit it.
        """
        address = self._scheduler()
        folder = self.existing_certificates() if address.startswith("tls://") else None
        return connect(address, folder, timeout=CONNECT_SECONDS)

    def observed(self, problem_of: Mapping[str, str]) -> Status:
        """Return the state of pools whose scheduler has an address.

        Parameters
        ----------
        problem_of
            What to say of each Region whose pool has no worker.
        """
        address = self._scheduler()
        if not address:
            return Status("", "", {}, (f"The pools are not running. {self._start()}.",))
        try:
            with self.connected() as client:
                workers = dict(check_scheduler(client)["pools"])
                instances = SchedulerRPC(client).instances()
        except OSError as error:
            problem = f"The scheduler at {address} does not answer ({error}). {self._restart()}."
            return Status("", "", {}, (problem,))
        problems = tuple(problem for region, problem in problem_of.items() if not workers.get(region))
        return Status(address, self.dashboard, workers, problems, instances)

    def client(self) -> Client:
        """Return a connection to the standing scheduler, made once for each process.

        Raises
        ------
        PlacementError
            If the pools are not running; if this process has other versions or certificates than they.
        LostComputation
            The same, if they were running a moment ago: they may be back soon.
        """
        with self._connecting:  # threads share one connection
            if self._client is not None and self._client.status == "running":
                return self._client
            absent = PlacementError if self._client is None else LostComputation
            if not self._scheduler():
                raise absent(f"The pools are not running. {self._start()}, then run again.")
            try:
                self._client = self.connected()
            except OSError as error:
                raise absent(
                    f"The scheduler at {self._scheduler()} does not answer. {self._restart()}, then run again."
                ) from error
            return self._client

    def roads(self) -> list[Road]:
        """Measure the roads between all pools, and to the scheduler; none where all Regions are on this machine."""
        if self.here:
            return []
        with self.connected() as client:
            return measure_roads(client, self.topology.client.region)

    def clock_skews(self) -> dict[str, float]:
        """Return by how many seconds the clocks of other machines are ahead, by Region; none if there are no others."""
        if self.here:
            return {}
        with self.connected() as client:
            return clock_skews(client)

    def compute(self, *xs: Any, tell: Tell | None = None) -> tuple[tuple[Any, ...], Evidence]:
        """Compute as `placement.compute` does, and report the progress of each Region line by line."""
        watchers = self._watchers(tell)

        def progress(state: Mapping[str, RegionProgress]) -> None:
            for watch in watchers:
                watch(state)

        return compute(self.client(), *xs, progress=progress if watchers else None)

    def _watchers(self, tell: Tell | None) -> list[Progress]:
        """Return what is called with the progress of a computation."""
        return [watch for watch in (self._watch, _Lines(tell) if tell else None) if watch]

    def close(self) -> None:
        """Disconnect; unfinished tasks of this process are cancelled."""
        if self._client is not None:
            self._client.close()
            self._client = None


class _Lines:
    """Progress as lines for a log, one whenever something changed."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last = ""

    def __call__(self, state: Mapping[str, RegionProgress]) -> None:
        line = "tasks done: " + ", ".join(f"{region} {at.done}/{at.planned}" for region, at in state.items())
        if line != self._last:
            self._last = line
            self._tell(line)
