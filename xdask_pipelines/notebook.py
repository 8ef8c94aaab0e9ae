"""A project as a notebook or script sees it: find, open, compute.

Belongs here: the few words that join catalog, access and pools for a person. Does not belong here: what any of them does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import xarray as xr

from xdask_pipelines.assets.replicas import from_cheapest
from xdask_pipelines.assets.source import opened_field
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.catalog.query import Wanted
from xdask_pipelines.catalog.resolve import nearest
from xdask_pipelines.catalog.times import Time, range_of
from xdask_pipelines.placement import Evidence
from xdask_pipelines.resources.pools import pools_of
from xdask_pipelines.resources.standing_pools import Pools
from xdask_pipelines.topology import Topology

if TYPE_CHECKING:
    from xdask_pipelines.access.esm_datastore import PlacedDatastore


@dataclass
class Project:
    """See :func:`xdask_pipelines.open_project`.

    Attributes
    ----------
    topology
        What ``regions.yaml`` says.
    catalog
        What there is: ``search``, ``facets``, ``resolve``.
    pools
        The standing pools; connected to by the first `compute`.
    evidence
        Where the latest `compute` ran: tasks and bytes by Region. Empty before.
    """

    topology: Topology
    catalog: Catalog = field(init=False)
    pools: Pools = field(init=False)
    evidence: Evidence = field(init=False, default_factory=Evidence)

    def __post_init__(self) -> None:
        self.catalog, self.pools = open_catalog(self.topology.catalog_url), pools_of(self.topology)

    def open(
        self,
        *,
        dataset: str,
        time: Time | None = None,
        times: Sequence[str] | None = None,
        each: Mapping[str, Sequence[str]] | None = None,
        **facets: str,
    ) -> xr.DataArray | xr.Dataset:
        """Open exactly what is asked for, lazily; nothing is read yet.

        Parameters
        ----------
        dataset, time, times, each, **facets
            As :meth:`xdask_pipelines.catalog.Catalog.resolve` takes them: ``time`` is one period or a range of two, first
            and last included, ``times`` a list of separate periods. Several entries are joined along time, and steps
            outside these periods are left out. Of data that several Regions hold, those from which a result is cheapest
            to send are opened, from one Region that holds all of them; ``region`` names another.

        Returns
        -------
        DataArray if there is one variable, as analyses get it: with its bounds, so that means can weigh months by their
        lengths. Dataset if there are several.

        Raises
        ------
        MissingEntries, AmbiguousEntries
            With everything that is missing, or what would tell the candidates apart.
        AccessError
            Entries have no header yet, with the command that reads it, or do not fit together.
        """
        near = from_cheapest(self.topology, self.topology.client.region)
        found = self.catalog.replicas(dataset=dataset, time=time, times=times, each=each, **facets)
        held_by_all = set.intersection(*({entry.region for entry in replicas} for _, replicas in found))
        entries = nearest(found, [region for region in near if region in held_by_all] or near)
        periods: list[Time] = [time] if time is not None else list(times or ())
        return opened_field(entries, [range_of(period) for period in periods])

    def to_esm(self, *, superseded: bool = False, time: Time | None = None, **query: Wanted) -> PlacedDatastore:
        """Matching entries as an intake-esm datastore, whose datasets are lazy and read where the entries lie.

        Parameters
        ----------
        superseded, time, **query
            As :meth:`xdask_pipelines.catalog.Catalog.search` takes them. The entries must be of one layout.

        Returns
        -------
        The datastore. Members become a dimension, times are joined, and everything else, the Region too, tells datasets
        apart.

        Raises
        ------
        CatalogError
            Nothing matches, or entries of several layouts do.

        Examples
        --------
        >>> from xdask_pipelines import open_project
        >>> store = open_project().to_esm(dataset="cmip6", variable="tas")
        >>> sorted(store.df.experiment_id)
        ['A1B', 'E1', 'pre-industrial']
        >>> (tas,) = store.search(experiment_id="A1B").to_dataset_dict(progressbar=False).values()
        """
        from xdask_pipelines.access.esm_datastore import placed_datastore  # imports intake, which takes a second

        return placed_datastore(self.catalog.search(superseded=superseded, limit=None, time=time, bbox=None, **query))

    def compute(self, *xs: Any) -> Any:
        """Compute lazy objects in the Regions of their data; `evidence` then says where that was.

        Pools are not started for this. They stand between calls and serve all notebooks; a worker lent to one would be
        slower than they are, and would stay behind when its kernel dies.

        Parameters
        ----------
        *xs
            Lazy xarray or Dask objects; together they read what they share once.

        Returns
        -------
        The result, in memory; of several a tuple.

        Raises
        ------
        PlacementError
            The pools are down, with the command that starts them; or something would run away from its data.
        """
        results, self.evidence = self.pools.compute(*xs)
        return results[0] if len(xs) == 1 else results

    def close(self) -> None:
        """Disconnect from the pools, which stay up."""
        self.pools.close()
