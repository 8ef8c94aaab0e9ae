"""Where workers of two Regions cannot connect, a run ends in time with an error that names both and the ports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic

import dask.array as da
import pytest
from distributed import Client

from tests.support.places import CENTRAL, CLIENT_REGION, EAST, WEST
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import compute, pin
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.settings import Settings

SECONDS = 15.0
#: An address of this machine on which nothing listens: connections to it are refused, as by a firewall that says so.
NOWHERE = "127.0.0.9"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Three Regions, of which nobody reaches WEST."""
    hidden = ("env", f"XDASK_CONTACT_HOST={NOWHERE}", "XDASK_PORTS=9000-9031")
    pools = [Pool(EAST), Pool(CENTRAL), Pool(WEST, prefix=hidden)]
    running = start(pools, tmp_path_factory.mktemp("blocked"), Settings(CLIENT_REGION, owner=os.getpid()))
    try:
        with running.connect(30, set_as_default=True) as found:
            yield found
    finally:
        running.stop()


def field(region: str, value: float) -> da.Array:
    return pin(da.full((64, 512), value, chunks=(16, 512)), region)


def test_a_run_that_needs_a_blocked_road_fails_in_time_and_names_it(client: Client) -> None:
    """WEST has more of the data: the smaller part would go there, and can; what comes back cannot."""
    began = monotonic()
    with pytest.raises(
        PlacementError, match=rf"cannot connect to {WEST}, ports 9000-9031: .*{NOWHERE}.*`xdask doctor`"
    ):
        compute(client, field(EAST, 1) + field(EAST, 2) + field(WEST, 3)[:16].repeat(4, axis=0))
    assert monotonic() - began < SECONDS


def test_work_that_does_not_use_the_road_goes_on(client: Client) -> None:
    (total,), evidence = compute(client, (field(EAST, 1) - field(CENTRAL, 1)).sum())
    assert total == 0
    assert evidence.misplaced_tasks == 0
    (alone,), _ = compute(client, field(WEST, 1).sum())
    assert alone == 64 * 512
