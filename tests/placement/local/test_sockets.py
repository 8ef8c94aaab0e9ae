"""Every process that is started on this machine listens on loopback alone, and with certificates none speaks plain TCP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import psutil
import pytest

from tests.support.places import EAST, WEST, Cluster
from xdask_pipelines.placement import pin
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.resources.pools.standing_pools import borrowed_workers
from xdask_pipelines.topology import Topology


def listening(pids: list[int]) -> dict[int, set[str]]:
    """Addresses on which processes and all that they started listen."""
    family = [p for pid in pids for p in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    return {p.pid: {c.laddr.ip for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN} for p in family}


def dask_processes() -> list[int]:
    """Processes that this one started, and that run Dask."""
    living = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p.pid for p in living if "dask" in p.cmdline()]


def assert_on_loopback(pids: list[int]) -> None:
    found = listening(pids)
    assert sum(bool(addresses) for addresses in found.values()) >= len(pids)
    assert set().union(*found.values()) == {"127.0.0.1"}, found


def test_regions_of_a_block_listen_on_loopback(cluster: Cluster) -> None:
    assert_on_loopback(dask_processes())


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[LocalPools]:
    shutil.copy(Path(__file__).parents[3] / "regions.yaml", tmp_path)
    pools = LocalPools(Topology.load(tmp_path / "regions.yaml"))
    yield pools
    pools.close()
    pools.down()


def test_standing_pools_listen_on_loopback(pools: LocalPools) -> None:
    pools.up()
    assert_on_loopback(list(pools._running().pids.values()))  # type: ignore[union-attr]


def test_temporary_workers_use_the_certificates_that_were_made(pools: LocalPools) -> None:
    def address(compute: Any) -> str:
        (client,) = compute.args
        return str(client.scheduler.address)

    before = set(dask_processes())
    with borrowed_workers(pools, [EAST], print) as compute:
        assert address(compute).startswith("tcp://127.0.0.1:")
    make_certificates(pools.topology.certificates)
    with borrowed_workers(pools, [WEST], print) as compute:
        assert address(compute).startswith("tls://127.0.0.1:")
        assert_on_loopback(sorted(set(dask_processes()) - before))
        (total,), _ = compute(pin(da.ones(8, chunks=2), WEST).sum())
        assert total == 8
