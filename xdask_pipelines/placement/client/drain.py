"""Asking a scheduler to take workers out of a pool.

Belongs here: the request of a client. Does not belong here: how it is done (draining).
"""

from __future__ import annotations

from collections.abc import Sequence

from distributed import Client

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC


def drain(client: Client, region: str, workers: int | Sequence[str] = 1) -> list[str]:
    """Take workers out of a pool without losing or recomputing anything.

    They take no new tasks, finish those that run, hand what waits and what they hold to the other workers of their
    pool, and end with their nannies. Nothing leaves the Region.

    Parameters
    ----------
    client
        Connected to a scheduler that `local_regions` or ``xdask pools up`` started.
    region
        Region of the pool.
    workers
        How many (those that hold least), or addresses of workers.

    Returns
    -------
    Addresses of the workers that ended.

    Raises
    ------
    PlacementError
        If the pool has no such workers, or those that stay cannot take over what is needed: nothing was drained.
    """
    answer = SchedulerRPC(client).drain(region, workers)
    if "refused" in answer:
        raise PlacementError(answer["refused"])
    return list(answer["drained"])
