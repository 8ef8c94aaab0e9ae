"""Computes the lazy objects of a project, by name or when Dask asks for them.

Belongs here: the connection of one project, its evidence and progress. Does not belong here: which project Dask asks
(placement.client.self_placing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distributed import Client

from xdask_pipelines.notebook.progress_display import ProgressDisplay
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.client.self_placing import place_with, stop_placing
from xdask_pipelines.placement.graph.homes import marked_layers
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.topology import Topology


class ProjectPlacer:
    """The pools of a project as the way in which its lazy objects are computed.

    Parameters
    ----------
    topology
        The project.

    Attributes
    ----------
    pools
        The pools; the first computation connects to them.
    evidence
        Evidence of the latest computation; empty before the first one.
    progress
        Shows the progress of each computation.
    """

    def __init__(self, topology: Topology) -> None:
        self._name = str(topology.root)
        self.progress = ProgressDisplay()
        self.pools = pools_of(topology, self.progress)
        self.evidence = Evidence()
        self._opened: set[str] = set()
        self._client_id = ""
        place_with(self)

    @property
    def name(self) -> str:
        """Return the folder of the project, by which two openings of one project are recognised."""
        return self._name

    def add(self, opened: Any) -> None:
        """Note that the project opened an object, which computes itself from now on."""
        self._opened |= marked_layers(opened)
        place_with(self)

    def opened(self) -> set[str]:
        """Return the names of the layers that read what the project opened."""
        return self._opened

    def client(self) -> Client:
        """Return the client of the pools, one for each process, and connect it if necessary.

        Raises
        ------
        PlacementError
            If the pools are down.
        """
        client = self.pools.client()
        self._client_id = client.id
        return client

    def client_id(self) -> str:
        """Return the identifier of the connected client; empty before the first connection."""
        return self._client_id

    def compute_all(self, xs: Sequence[Any]) -> tuple[Any, ...]:
        """Compute objects where their data are, keep the evidence, and return one value for each."""
        self.client()
        with self.progress.shown():
            results, self.evidence = self.pools.compute(*xs)
        return results

    def close(self) -> None:
        """Disconnect; lazy objects of the project no longer compute themselves."""
        stop_placing(self)
        self.pools.close()
