"""Roads between pools whose workers end while they are measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from distributed import Client

from tests.support.places import CENTRAL, CLIENT_REGION, EAST, WEST
from xdask_pipelines.placement.client import roads
from xdask_pipelines.placement.client.drain import drain
from xdask_pipelines.placement.client.roads import Road, measure_roads
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.settings import Settings


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    running = start(
        [Pool(EAST), Pool(CENTRAL), Pool(WEST, processes=3)], tmp_path, Settings(CLIENT_REGION, owner=os.getpid())
    )
    try:
        with running.connect(30) as found:
            yield found
    finally:
        running.stop()


def test_a_worker_that_ends_while_roads_are_measured_is_no_blocked_road(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look but the last loses the worker that it measures; then the pool has none."""
    measure = roads._measure
    looks = 0

    def losing(client: Client, client_region: str, ends: Mapping[str, str]) -> list[Road]:
        nonlocal looks
        looks += 1
        drain(client, WEST, [ends[WEST]])
        return measure(client, client_region, ends)

    monkeypatch.setattr(roads, "_measure", losing)
    found = measure_roads(client, CLIENT_REGION)
    assert looks == 3
    assert {(road.src, road.dst) for road in found} == {
        (src, dst) for src in (CLIENT_REGION, EAST, CENTRAL) for dst in (CLIENT_REGION, EAST, CENTRAL) if src != dst
    }
    assert not any(road.problem for road in found)


def test_a_worker_in_the_client_s_region_that_ends_hides_no_blocked_road(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roads of that Region are those of the scheduler, which stays."""

    def blocked(client: Client, client_region: str, ends: Mapping[str, str]) -> list[Road]:
        drain(client, WEST, 1)
        return [Road(client_region, region, "9000", problem="blocked") for region in ends]

    monkeypatch.setattr(roads, "_measure", blocked)
    assert {road.dst for road in measure_roads(client, WEST)} == {EAST, CENTRAL}
