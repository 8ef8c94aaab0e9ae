"""Where workers of two Regions cannot connect, a run ends in time with an error that names both and the ports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any

import dask.array as da
import pytest
from distributed import Client

from tests.support.places import CENTRAL, CLIENT_REGION, EAST, WEST
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import compute, pin
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.protection import blocked_roads
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


def test_a_result_that_the_scheduler_cannot_fetch_is_refused_in_time_and_names_the_ports(client: Client) -> None:
    """Small results travel with the worker's own messages; many or large ones are fetched."""
    began = monotonic()
    with pytest.raises(
        PlacementError, match=rf"{CLIENT_REGION} cannot connect to {WEST}, ports 9000-9031: the scheduler"
    ):
        compute(client, field(WEST, 1).repeat(8, axis=0))
    with pytest.raises(PlacementError, match="ports 9000-9031: the scheduler"):
        client.compute(field(WEST, 3).repeat(8, axis=0)).result(timeout=60)
    assert monotonic() - began < 2 * SECONDS


class Ends:
    """A scheduler with two workers, as far as `BlockedRoads` looks at it."""

    def __init__(self) -> None:
        self.workers = {address: SimpleNamespace(last_seen=0.0, processing=[]) for address in ("a", "b")}
        self.stream_handlers: dict[str, Any] = {}


def test_an_outage_of_any_length_is_no_blocked_road(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports from before a silence do not count after it, however many there were."""
    clock = [0.0]
    for name in ("time", "monotonic"):
        monkeypatch.setattr(blocked_roads, name, lambda: clock[0])
    scheduler, roads = Ends(), blocked_roads.BlockedRoads()
    roads.start(scheduler)  # type: ignore[arg-type]
    for second in range(60):
        clock[0] = float(second)
        scheduler.workers["a"].last_seen = clock[0]
        if not 3 <= second < 40:  # the other end is cut off
            scheduler.workers["b"].last_seen = clock[0]
        if 8 <= second < 41:  # connecting takes a while to fail
            scheduler.stream_handlers["xdask-unreachable"](peer="b", worker="a")
        roads.look(scheduler)  # type: ignore[arg-type]
        assert not roads.blocked(), second
    for second in range(60, 70):  # and a road that is blocked while both ends are well is found
        clock[0] = scheduler.workers["a"].last_seen = scheduler.workers["b"].last_seen = float(second)
        scheduler.stream_handlers["xdask-unreachable"](peer="b", worker="a")
        roads.look(scheduler)  # type: ignore[arg-type]
    assert roads.blocked() == {("a", "b")}
