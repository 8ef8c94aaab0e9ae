"""Workers for small work such as a sync: the standing pools where they can take tasks, else temporary workers.

Belongs here: borrowing for small work beside the data, so that no sync depends on pools that happen to be up. Does not
belong here: pools, and how workers are started (local_pools).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.resources.standing_pools import Pools, Tell


@contextmanager
def lent(pools: Pools, regions: Sequence[str], tell: Tell) -> Iterator[Compute]:
    """What computes in some Regions, for as long as a block of code runs.

    Parameters
    ----------
    pools
        Used if each of the Regions has a worker there.
    regions
        Worker Regions.
    tell
        Is told if workers are started.

    Raises
    ------
    EmptyPool
        A Region has no worker, and none can be started for a moment.
    """
    workers = pools.status().workers
    if all(workers.get(region) for region in regions):
        yield pools.compute
        return
    with pools.temporary(regions, tell) as compute:
        yield compute
