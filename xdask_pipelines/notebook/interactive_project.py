"""A project in a notebook or script: search, open, compute.

Belongs here: the interface that combines catalog, access and pools. Does not belong here: their functions, how Dask finds
the project for its collections (placement.client.self_placing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import xarray as xr

from xdask_pipelines.access.plain_datetimes import with_datetimes
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.catalog.query import Box, Wanted
from xdask_pipelines.catalog.runs import RUN
from xdask_pipelines.catalog.times import Time
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.notebook.entry_table import EntryTable
from xdask_pipelines.notebook.explorer import Explorer
from xdask_pipelines.notebook.project_data import opened_runs, opened_series
from xdask_pipelines.notebook.project_page import project_page
from xdask_pipelines.notebook.project_placer import ProjectPlacer
from xdask_pipelines.notebook.saved_selections import saved_names, saved_selection
from xdask_pipelines.notebook.selection import Selection
from xdask_pipelines.placement import Evidence, Plan, plan
from xdask_pipelines.resources.pools.standing_pools import Pools
from xdask_pipelines.topology import Topology

if TYPE_CHECKING:
    from xdask_pipelines.access.esm_datastore import PlacedDatastore
    from xdask_pipelines.notebook.explorer_widgets import ExplorerWidgets


@dataclass(eq=False, repr=False)
class Project:
    """See :func:`xdask_pipelines.open_project`.

    As long as a project is open, ``.compute()``, ``.load()``, ``.values`` and ``.plot()`` of what it opened compute in the
    Regions of the data, as `compute` does. Other Dask collections are computed as without a project. `close`, or the end
    of a ``with`` block, ends this.

    Attributes
    ----------
    topology
        The content of ``regions.yaml``.
    catalog
        The catalog, with ``search``, ``facets`` and ``resolve``.
    """

    topology: Topology
    catalog: Catalog = field(init=False)
    _placer: ProjectPlacer = field(init=False)

    def __post_init__(self) -> None:
        self.catalog, self._placer = open_catalog(self.topology.catalog_url), ProjectPlacer(self.topology)

    @property
    def pools(self) -> Pools:
        """Return the pools; the first computation connects to them."""
        return self._placer.pools

    @property
    def evidence(self) -> Evidence:
        """Return the evidence of the latest computation, by `compute` or by a lazy object itself; empty before the first."""
        return self._placer.evidence

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def open(
        self,
        *,
        dataset: str,
        time: Time | None = None,
        times: Sequence[str] | None = None,
        each: Mapping[str, Sequence[str]] | None = None,
        with_parent: bool = False,
        **facets: str,
    ) -> xr.DataArray | xr.Dataset:
        """Open the requested data lazily; nothing is read yet.

        Parameters
        ----------
        dataset, time, times, each, **facets
            As in :meth:`xdask_pipelines.catalog.Catalog.resolve`: ``time`` is one period or a range of two, both
            included; ``times`` is a list of separate periods. Several entries are joined along time, and steps outside
            these periods are dropped. If several Regions hold all of the data, the one from which results are cheapest
            to send is used; ``region`` selects another.
        with_parent
            Whether a scenario begins with the run that it starts from, as its attributes say (`find_runs`); its parts may
            lie in several Regions.

        Returns
        -------
        A DataArray for one variable, in the same form as for analyses: with its bounds, so that means can weight months
        by their lengths, and on a curvilinear or unstructured grid with the areas of its cells, if the catalog has them
        (`access.native_grids`). A Dataset for several variables. Times are datetime64 if the calendar is standard, and
        cftime objects else, which plots take too if nc-time-axis is installed (``pip install "xdask_pipelines[notebook]"``).
        Analyses get cftime objects in all calendars; the functions of ``xdask_pipelines.climate`` take both.

        Raises
        ------
        MissingEntries, AmbiguousEntries
            If data are missing, or the request matches several candidates; the message lists them.
        AccessError
            If entries have no header yet or cannot be joined.
        """
        opened = opened_series(self.topology, self.catalog, dataset, time, times, each, with_parent, facets)
        self._placer.add(opened)
        return with_datetimes(opened)

    def ensemble(
        self,
        *,
        dataset: str,
        by: Sequence[str] = RUN,
        time: Time | None = None,
        with_parent: bool = False,
        **facets: str | Sequence[str],
    ) -> dict[Any, xr.DataArray | xr.Dataset]:
        """Open all runs that match lazily, from any Regions, calendars and grids.

        Reduce each run before they meet, for example by `climate.regrid` and `climate.analyses.period_means`: then it is
        reduced in its own Region, and only the results cross. `climate.analyses.ensemble_statistics` takes the mapping.

        Parameters
        ----------
        dataset, by, time, with_parent, **facets
            As in :func:`xdask_pipelines.catalog.runs.find_runs`.

        Returns
        -------
        One array for each run, as from `open`, by `climate.analyses.Member` (model and member), or by the values of ``by``.

        Raises
        ------
        MissingEntries, AmbiguousEntries
            As in :func:`xdask_pipelines.catalog.runs.find_runs`.

        Examples
        --------
        >>> from xdask_pipelines import open_project
        >>> runs = open_project().ensemble(dataset="cmip6", by=["experiment_id"], variable_id="tas")
        >>> sorted(runs)
        ['A1B', 'E1', 'pre-industrial']
        """
        runs = opened_runs(self.topology, self.catalog, dataset, by, time, with_parent, facets)
        for opened in runs.values():
            self._placer.add(opened)
        return {run: with_datetimes(opened) for run, opened in runs.items()}

    def search(
        self,
        *,
        superseded: bool = False,
        limit: int | None = None,
        time: Time | None = None,
        bbox: Box | None = None,
        **query: Wanted,
    ) -> EntryTable:
        """Return the entries of the catalog that match, as a table.

        Parameters
        ----------
        superseded, limit, time, bbox, **query
            As in :meth:`xdask_pipelines.catalog.Catalog.search`.

        Returns
        -------
        A sequence of entries that shows as a table; ``to_pandas`` returns a data frame.

        Raises
        ------
        CatalogError
            If no entry has a name, or a value is not text.
        """
        found = self.catalog.search(superseded=superseded, limit=limit, time=time, bbox=bbox, **query)
        return EntryTable(found)

    def to_esm(self, *, superseded: bool = False, time: Time | None = None, **query: Wanted) -> PlacedDatastore:
        """Return matching entries as an intake-esm datastore, whose datasets are lazy and read in their home Regions.

        Parameters
        ----------
        superseded, time, **query
            As in :meth:`xdask_pipelines.catalog.Catalog.search`. All entries must have the same layout.

        Returns
        -------
        The datastore. Members become a dimension and times are joined; all other facets, including the Region,
        distinguish datasets.

        Raises
        ------
        CatalogError
            If no entry matches, or entries have several layouts.

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
        """Compute lazy objects in the Regions of their data; `evidence` is updated.

        Several objects in one call are one computation, whose evidence covers all of them. This method does not start
        pools. Pools keep running between calls and serve all notebooks; temporary workers of one notebook would be slower,
        and would remain if its kernel dies.

        Parameters
        ----------
        *xs
            Lazy xarray or Dask objects; data that they share are read once.

        Returns
        -------
        The result in memory; a tuple for several objects.

        Raises
        ------
        PlacementError
            If the pools are down, or a task would run outside the Region of its data.
        """
        results = self._placer.compute_all(xs)
        return results[0] if len(xs) == 1 else results

    def plan(self, *xs: Any) -> Plan:
        """Predict where lazy objects would be computed, what they would read, and what would cross Regions.

        Nothing runs, and no pool is needed.

        Parameters
        ----------
        *xs
            As for `compute`.

        Returns
        -------
        The plan, which shows as a picture.

        Raises
        ------
        PlacementError
            If a task mixes reads of two Regions, as `compute` would.
        """
        return plan(*xs, settings=self.pools.settings())

    def explore(self, name: str = "") -> ExplorerWidgets:
        """Show drop-downs of the catalog in a notebook: choose data of the past, a projection or both, and use them.

        Parameters
        ----------
        name
            Name of the selection. A selection that the project has is shown as it was; each change is saved.

        Returns
        -------
        The widgets, which show if they are the last line of a cell. `selection` returns what is chosen.

        Raises
        ------
        XdaskError
            If ipywidgets is not installed.
        """
        try:
            from xdask_pipelines.notebook.explorer_widgets import ExplorerWidgets  # imports an extra
        except ModuleNotFoundError as error:
            if error.name not in ("ipywidgets", "IPython"):
                raise
            raise XdaskError(
                'The drop-downs need ipywidgets. Install it with `pip install "xdask_pipelines[notebook]"`, restart the '
                "kernel, and try again; or list entries with project.search()."
            ) from error
        return ExplorerWidgets(Explorer(self, name))

    def selection(self, name: str) -> Selection:
        """Return a selection that was made with `explore`, in this notebook or another one.

        Parameters
        ----------
        name
            Its name; `selections` lists all.

        Raises
        ------
        XdaskError
            If the project has none of this name; the message lists all names.
        """
        return saved_selection(self, name)

    def selections(self) -> list[str]:
        """Return the names of the selections that the project has."""
        return saved_names(self.topology)

    def __repr__(self) -> str:
        regions = ", ".join(self.topology.worker_regions)
        return f"<Project {self.topology.root}: data in {regions}; client in {self.topology.client.region}>"

    def _repr_html_(self) -> str:
        return project_page(self.topology, self.catalog, self.pools, self.evidence)

    def close(self) -> None:
        """Disconnect from the pools, which keep running; lazy objects of the project no longer compute themselves."""
        self._placer.close()
