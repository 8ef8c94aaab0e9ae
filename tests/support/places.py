"""Names and values that tests of placement and access share; apart from conftest, for there are several of those."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client

from tests.support.recorder import Recorder
from xdask_pipelines.placement import pin
from xdask_pipelines.placement.settings import Link, Rates, Settings

EAST, WEST, CENTRAL = "us-east-1", "us-west-2", "eu-central-1"
CLIENT_REGION = "eu-west-2"
#: One pair is dear, so that tests can tell prices from bytes.
SETTINGS = Settings(
    client_region=CLIENT_REGION,
    links={f"{CENTRAL}->{EAST}": Link(usd_per_byte=2e-10), f"{CENTRAL}->{WEST}": Link(usd_per_byte=2e-10)},
    pools={EAST: Rates(2, 10**9, 10**9, 1e-5, 1e-6, 0.379), WEST: Rates(2, 10**9, 10**9, 1e-5, 1e-6)},
    kwh_per_byte=1e-12,
    empty_pool_seconds=8.0,
)


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its client, each Region's folders, and who watches it."""

    client: Client
    data: dict[str, Path]
    results: dict[str, Path]
    recorder: Recorder
    first_workers: Collection[str] = ()


def until(flag: Path, region: str) -> da.Array:
    """Ones of a Region, which are made once a file exists."""

    def make(block_id: Any = None) -> np.ndarray:
        while not flag.exists():
            sleep(0.05)
        return np.ones(2)

    return pin(da.map_blocks(make, chunks=((2,),), dtype=float, meta=np.empty(0)), region)


def workers(client: Client) -> dict[str, Any]:
    """What the scheduler reports of each worker, by address.

    `Client.scheduler_info` may return another answer, without workers: that to a request of the client's own timer.
    """
    scheduler: Any = client.scheduler
    return dict(client.sync(scheduler.identity, n_workers=-1)["workers"])


def workers_of(client: Client, region: str) -> list[str]:
    """Addresses of a pool's workers."""
    return sorted(address for address, worker in workers(client).items() if f"pool-{region}" in worker["resources"])


def worker_ids(client: Client) -> set[str]:
    """Addresses and folders of the worker processes; one that is restarted has another folder (its name stays)."""
    return {f"{address} {worker['local_directory']}" for address, worker in workers(client).items()}


def eventually(check: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether something becomes true in time.

    A busy scheduler may hold up a single check for longer than that: some are made in any case.
    """
    deadline, owed = monotonic() + seconds, 20
    while not (reached := check()) and (owed > 0 or monotonic() < deadline):
        owed -= 1
        sleep(0.05)
    return reached


def array(region: str, shape: tuple[int, ...], chunks: Any = -1, seed: int = 0) -> da.Array:
    """Made at home from a seed: nothing of it travels with the graph."""

    def make(block_info: Any = None) -> np.ndarray:
        location = block_info[None]["array-location"]
        rng = np.random.default_rng([seed, *(start for start, _ in location)])
        return rng.integers(0, 320, [stop - start for start, stop in location]) / 32

    made = da.map_blocks(
        make, chunks=da.core.normalize_chunks(chunks, shape), dtype=float, meta=np.empty((0,) * len(shape))
    )
    return pin(made, region)
