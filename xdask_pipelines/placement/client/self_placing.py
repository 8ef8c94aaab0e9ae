"""Placed collections that place themselves: what ``.compute()``, ``.load()``, ``.values`` and ``.plot()`` do in a project.

Belongs here: Dask's scheduler in this process, which gives placed collections to the project that opened them, and all
others to the scheduler that they would have otherwise. Does not belong here: computing (compute), projects (notebook).

Dask asks the configured scheduler for every collection. A default client would be the other documented way, but it takes
all collections, and computes without evidence.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from weakref import ReferenceType, ref

import dask
from dask.base import is_dask_collection
from distributed import Client

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.compute import keep
from xdask_pipelines.placement.dask_internals.requested_values import (
    client_behind,
    clients_of,
    optimizers_of,
    requested_values,
    usual_scheduler,
    writes_to_stores,
)
from xdask_pipelines.placement.graph.homes import has_placed_tasks, marked_layers


class Placer(Protocol):
    """Computes placed collections: a project."""

    @property
    def name(self) -> str:
        """Return the same text for placers that compute with the same pools."""
        ...

    def opened(self) -> set[str]:
        """Return the names of the layers that read what this project opened."""
        ...

    def client(self) -> Client:
        """Return the client of the project's pools, and connect it if necessary."""
        ...

    def client_id(self) -> str:
        """Return the identifier of the connected client; empty before the first connection."""
        ...

    def compute_all(self, xs: Sequence[Any]) -> Sequence[Any]:
        """Compute collections where their data are, keep the evidence, and return one value for each."""
        ...


class SelfPlacing:
    """A scheduler for Dask's configuration.

    Parameters
    ----------
    before
        The scheduler that was configured before; it computes what is not placed. None: Dask's default.
    """

    def __init__(self, before: Any) -> None:
        self.before = before

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the scheduler before: Dask sends its configuration to processes that it starts."""
        return _same, (self.before,)

    @property
    def __self__(self) -> Client:
        """Return the client that computes what is not placed: xarray's locks of files ask for it.

        Raises
        ------
        AttributeError
            If none does.
        """
        if (client := client_behind(self.before)) is None:
            raise AttributeError("no client computes what is not placed")
        return client

    def __call__(self, expr: Any, keys: Sequence[Any], **options: Any) -> Any:
        """Compute an expression; called by Dask."""
        values = requested_values(expr, keys)
        if values is None or not any(map(is_placed, values)):
            return usual_scheduler(self.before, optimizers_of(expr))(expr, keys, **options)
        if any(map(writes_to_stores, values)):
            raise PlacementError(
                "Placed data cannot be written to a file of this machine while they are computed: their workers are on "
                "other machines. Compute them first, then write the result: `project.compute(x).to_netcdf(...)`."
            )
        _refuse(options)
        return list(_placer(values).compute_all(values))

    def persist(self, collections: Sequence[Any], optimize_graph: bool = True, **options: Any) -> Sequence[Any]:
        """Compute collections and keep the results on their workers; called by Dask.

        Results of placed collections stay in their Regions. They have evidence when something that is computed from them
        arrives.
        """
        if not any(map(is_placed, collections)):
            optimizers = [getattr(x, "__dask_optimize__", None) for x in collections]
            usual = usual_scheduler(self.before, optimizers)
            persist: Any = getattr(dask, "persist")  # noqa: B009 (Dask does not declare it for type checkers)
            kept: Sequence[Any] = persist(*collections, optimize_graph=optimize_graph, scheduler=usual, **options)
            return kept
        _refuse(options)
        return keep(_placer(collections).client(), list(collections))


def _refuse(options: Mapping[str, Any]) -> None:
    if options:
        raise PlacementError(
            f"Placed data are computed without options, but {', '.join(sorted(options))} was given. Leave it out, or use "
            "`project.compute(x)`."
        )


def _same(value: Any) -> Any:
    return value


#: In the order in which they were opened. A notebook that runs a cell again leaves its first project, with its connection,
#: to the garbage collector; the latest one of each name stays, because lazy objects may outlive its variable.
_placers: list[ReferenceType[Placer]] = []
_latest: dict[str, Placer] = {}
_lock = threading.Lock()


def place_with(placer: Placer) -> None:
    """Let a project compute what it opened, wherever Dask is asked for it, until `stop_placing`.

    May be called again, and does nothing then unless a scheduler was configured in the meantime.
    """
    with _lock:
        if placer not in open_placers():
            _placers.append(ref(placer))
            _latest[placer.name] = placer
        if not isinstance(before := dask.config.get("scheduler", None), SelfPlacing):
            dask.config.set(scheduler=SelfPlacing(before))


def stop_placing(placer: Placer) -> None:
    """Compute nothing with a project any more; the last one restores the scheduler that was configured before."""
    with _lock:
        _placers[:] = [ref(other) for other in open_placers() if other is not placer]
        if _latest.get(placer.name) is placer:
            del _latest[placer.name]
        if not _placers and isinstance(current := dask.config.get("scheduler", None), SelfPlacing):
            dask.config.set(scheduler=current.before)


def open_placers() -> list[Placer]:
    """Return the open projects, in the order in which they were opened."""
    return [placer for reference in _placers if (placer := reference()) is not None]


def is_placed(x: Any) -> bool:
    """Return whether a lazy object reads in a Region, is pinned to one, or builds on results that workers of a pool hold."""
    if marked_layers(x) or has_placed_tasks(x):
        return True
    clients = {placer.client_id() for placer in open_placers()}
    return is_dask_collection(x) and not clients.isdisjoint(clients_of(x))


def _placer(values: Sequence[Any]) -> Placer:
    """Return the project that opened what these collections read; the only one that is open, if none did.

    Raises
    ------
    PlacementError
        If it cannot be decided.
    """
    reads, clients = marked_layers(*values), set().union(*map(clients_of, values))
    open_ = open_placers()
    if not open_:
        raise PlacementError(
            "These data are placed, but no project is open in this process. Open it with `open_project()`, and compute with "
            "`project.compute(x)`."
        )
    if clients - {placer.client_id() for placer in open_}:
        raise PlacementError(
            "These data build on results that a client of your own keeps (`persist`), which the pools do not reach. Leave "
            "`persist` out, or close that client, and compute with `project.compute(x)`."
        )
    owned = [(placer, reads & placer.opened()) for placer in open_]
    known = set().union(*(names for _, names in owned))
    owners = [placer for placer, names in owned if names] + [p for p in open_ if p.client_id() in clients]
    if len({placer.name for placer in owners or open_}) == 1:  # the same project, perhaps opened more than once
        return (owners or open_)[-1]
    if whole := [placer for placer, names in owned if names == known and names and not clients]:
        return whole[-1]  # copies of the same files: each computes the same
    raise PlacementError(
        f"{len(open_)} projects are open, and these data belong to {'several' if owners else 'none'} of them, so they "
        "cannot compute themselves. Name the project: `project.compute(x)`."
    )
