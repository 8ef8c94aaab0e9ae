"""The pools of a topology.

Belongs here: which kind a topology has. Does not belong here: what pools can do (standing_pools), any kind of them
(local_pools, attached_pools, ecs_pools).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.compute import Progress
from xdask_pipelines.resources.pools.attached_pools import AttachedPools
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.resources.pools.standing_pools import Pools, Tell
from xdask_pipelines.topology import Topology


def is_controlled(topology: Topology) -> bool:
    """Return whether a sensor sizes the pools of a topology; elsewhere `xdask pools autoscale` does, while it runs."""
    return topology.profile == "aws"


def pools_of(topology: Topology, watch: Progress | None = None, note: Tell | None = None) -> Pools:
    """Return the pools of a topology.

    Parameters
    ----------
    topology
        The topology with the Regions and their folders.
    watch
        Called about twice a second during a computation, with tasks done and planned by Region.
    note
        Called with a line for what delays a computation.
    """
    if topology.profile == "aws":
        from xdask_pipelines.resources.pools.ecs_pools import EcsPools  # kept light: imports boto3 when it is used

        return EcsPools(topology, watch, note)
    kind = LocalPools if topology.profile == "local" else AttachedPools
    return kind(topology, watch, note)


@contextmanager
def extra_workers(pools: Pools, counts: Mapping[str, int], tell: Tell) -> Iterator[None]:
    """Add instances to some pools for the duration of a ``with`` block.

    Parameters
    ----------
    pools
        Running pools.
    counts
        Number of further instances by Region.
    tell
        Gets a line for each step.

    Raises
    ------
    PlacementError
        The pools are not on AWS; or an instance does not start.
    """
    if not counts:
        yield
        return
    if not is_controlled(pools.topology):
        raise PlacementError(
            "Extra workers for one run are started on AWS alone. Add workers to the pool instead: `xdask pools scale REGION "
            "COUNT`."
        )
    from xdask_pipelines.resources.pools.ecs_pools import EcsPools  # kept light: imports boto3 when it is used
    from xdask_pipelines.resources.pools.extra_workers import extra_clusters

    assert isinstance(pools, EcsPools)
    with extra_clusters(pools, {pools.topology.worker(region).region: n for region, n in counts.items()}, tell):
        yield
