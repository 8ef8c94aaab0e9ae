"""Placement: every task that reads runs in the Region of its data, and each result has evidence of it.

Importing this package makes Dask optimise array graphs with the fence and use wide reductions: over a WAN each level of
a graph costs a round trip (0.09 s at 80 ms), and ``split_every`` 4 needs four levels where 32 needs one.

Its modules are imported on first use: a nanny needs none of them, and they cost 0.7 s and 60 MB a process.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import dask

from xdask_pipelines.errors import EmptyPool, LostComputation, PlacementError
from xdask_pipelines.placement.query_planning import refuse_query_planning

if TYPE_CHECKING:
    from xdask_pipelines.placement.client.compute import check_scheduler, compute
    from xdask_pipelines.placement.client.drain import drain
    from xdask_pipelines.placement.evidence import Evidence
    from xdask_pipelines.placement.graph.pin import pin
    from xdask_pipelines.placement.local.local_regions import local_regions
    from xdask_pipelines.placement.prediction.plan import Plan, plan

__all__ = [
    "EmptyPool",
    "Evidence",
    "LostComputation",
    "PlacementError",
    "Plan",
    "check_scheduler",
    "compute",
    "drain",
    "local_regions",
    "pin",
    "plan",
]
_MODULES = {
    "Evidence": "evidence",
    "Plan": "prediction.plan",
    "check_scheduler": "client.compute",
    "compute": "client.compute",
    "drain": "client.drain",
    "local_regions": "local.local_regions",
    "pin": "graph.pin",
    "plan": "prediction.plan",
}


def optimize_arrays(graph: Any, keys: Any, **options: Any) -> Any:
    """Optimise an array graph with the fence (Dask's ``array_optimize``)."""
    from xdask_pipelines.placement.graph.fence import fenced

    return fenced(graph, keys, **options)


refuse_query_planning()
dask.config.set({"array_optimize": optimize_arrays})
dask.config.update_defaults({"split_every": 32})


if not TYPE_CHECKING:  # else any attribute would pass the type checker

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
