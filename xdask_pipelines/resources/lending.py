"""Workers for small work such as a sync: the standing pools where they can take tasks, else one worker, given back.

Belongs here: borrowing for small work beside the data, so that no sync depends on pools that happen to be up. Does not
belong here: standing pools (pools).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.errors import EmptyPool
from xdask_pipelines.placement import compute, local_regions
from xdask_pipelines.resources.pools import Pools, Tell


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
    """
    workers = pools.status().workers
    if all(workers.get(region) for region in regions):
        yield pools.compute
        return
    if pools.topology.profile != "local":
        # A worker of this machine has not the Region's mounts: every file would seem to be gone from them.
        raise EmptyPool(
            f"The pools of {', '.join(r for r in regions if not workers.get(r))} have no worker, and on AWS none can be "
            "started from here; nothing was changed. Raise the desired count of the pool's service, then run again"
        )
    tell(f"pools are down: starting one worker in {', '.join(regions)}, for this only")
    topology = pools.topology
    data = {region: topology.data_folder(region) for region in regions}
    results = {region: topology.results_folder(region) for region in regions}
    for folder in results.values():
        folder.mkdir(parents=True, exist_ok=True)
    made = pools.made_certificates()
    with local_regions(regions, data=data, results=results, certificates=made) as client:
        yield partial(compute, client)
