"""Calls of functions in a Region's pool.

Belongs here: small calls next to the data (listing, headers). Does not belong here: array graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from dask.delayed import Delayed, delayed

from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.graph.homes import layer_name
from xdask_pipelines.placement.worker.guard import at_home

#: Function that computes lazy calls: `placement.compute` bound to a client.
Compute = Callable[..., tuple[tuple[Any, ...], Evidence]]


@dataclass(frozen=True)
class Call:
    """A function that runs inside the guard of its Region."""

    region: str
    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function in its home Region, or raise `PlacementError`."""
        with at_home(self.region):
            return self.function(*args, **kwargs)


def call_at_home(kind: str, region: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Delayed:
    """Create a lazy call that runs only in the pool of ``region``.

    Parameters
    ----------
    kind
        One lower-case word for the call: the prefix of its key on Dask's dashboard.
    region
        Region in which it runs.
    function, *args, **kwargs
        The call. It is never shared with an equal one.
    """
    name = layer_name(kind, region, uuid4().hex)
    call: Delayed = delayed(Call(region, function), pure=False)(*args, **kwargs, dask_key_name=name)
    return call
