"""Draining workers of a pool, as a client requests it.

Belongs here: the request of a client. Does not belong here: what the scheduler does (draining).
"""

from __future__ import annotations

from collections.abc import Sequence

from distributed import Client

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC


def drain(client: Client, region: str, workers: int | Sequence[str] = 1) -> list[str]:
    """Remove workers from a pool without losing or recomputing results.

    The workers take no new tasks, finish their running tasks, hand over waiting tasks and results to other workers of
    their pool, and end together with their nannies. No data leave the Region.

    Parameters
    ----------
    client
        A client that is connected to a scheduler started by `local_regions` or ``xdask pools up``.
    region
        Region of the pool.
    workers
        Number of workers (those that hold the fewest bytes are chosen), or addresses of workers.

    Returns
    -------
    Addresses of the workers that ended.

    Raises
    ------
    PlacementError
        If the pool has no such workers, or the remaining workers cannot take over tasks and results. No worker was
        drained then.
    """
    answer = SchedulerRPC(client).drain(region, workers)
    if "refused" in answer:
        raise PlacementError(answer["refused"])
    return list(answer["drained"])
