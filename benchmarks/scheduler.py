"""What placement costs a scheduler: submitting many tasks, and running them, beside Dask without it.

Belongs here: the two ways of each. Does not belong here: clocks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

EAST, WEST = "us-east-1", "us-west-2"


def _lazy(blocks: int, regions: int = 1) -> Any:
    """A sum of as many blocks, which one or two Regions hold; reduced 32 at a time in both ways."""
    import dask.array as da
    import numpy as np

    from xdask_pipelines.placement import pin

    chunks = ((1,) * (blocks // regions),)
    held = [
        pin(da.map_blocks(np.full, 1, value, chunks=chunks, dtype=float, meta=np.empty(0)), region)
        for value, region in enumerate((EAST, WEST)[:regions], 1)
    ]
    return (held[0] if regions == 1 else da.concatenate(held)).sum(split_every=32)


def submitted(blocks: int, *, placed: bool, regions: int = 1) -> Callable[[Path], Callable[[], Any]]:
    """Client and scheduler in one process, no worker: from handing in the graph until the scheduler holds its tasks.

    The answer is the number of tasks without inputs; how many others there are depends on what is fused.
    """

    def prepare(folder: Path) -> Callable[[], Any]:
        lazy = _lazy(blocks, regions)
        return lambda: asyncio.run(_submit(lazy, blocks, placed=placed))

    return prepare


async def _submit(lazy: Any, blocks: int, *, placed: bool) -> int:
    from functools import partial

    import dask
    import dask.array as da
    from distributed import Client, Scheduler

    from xdask_pipelines.placement.graph.fence import fenced
    from xdask_pipelines.placement.scheduler.plugin import PlacementPlugin
    from xdask_pipelines.placement.settings import Settings

    optimize = partial(fenced, max_tasks=10**6) if placed else da.optimization.optimize
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        if placed:
            plugin = PlacementPlugin(Settings(empty_pool_seconds=1e6))
            scheduler.add_plugin(plugin)
            await plugin.start(scheduler)
        async with Client(scheduler.address, asynchronous=True, set_as_default=False) as client:
            with dask.config.set(array_optimize=optimize):
                held = client.persist(lazy)
            while len(scheduler.tasks) < blocks:
                await asyncio.sleep(0.005)
            restricted = sum(bool(ts.resource_restrictions) for ts in scheduler.tasks.values())
            assert restricted == (len(scheduler.tasks) if placed else 0)
            del held
            return sum(not ts.dependencies for ts in scheduler.tasks.values())


def ran(blocks: int, *, placed: bool) -> Callable[[Path], Callable[[], Any]]:
    """One worker process: from handing in the graph until its result is there."""

    def prepare(folder: Path) -> Callable[[], Any]:
        import atexit

        import dask
        import dask.array as da
        from distributed import Client, LocalCluster

        from xdask_pipelines.placement import compute, local_regions

        lazy, warm = _lazy(blocks), _lazy(10)
        if placed:
            context = local_regions([EAST])
            client = context.__enter__()
            atexit.register(context.__exit__, None, None, None)
            compute(client, warm)
            return lambda: float(compute(client, lazy)[0][0])
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)
        plain = Client(cluster)
        atexit.register(cluster.close)
        dask.config.set(array_optimize=da.optimization.optimize)
        warm.compute()
        return lambda: float(plain.compute(lazy).result())

    return prepare
