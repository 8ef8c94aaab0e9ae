"""Roads between pools whose workers end while they are measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from tests.support.places import CENTRAL, CLIENT_REGION, EAST, WEST
from xdask_pipelines.placement.client import roads
from xdask_pipelines.placement.client.drain import drain
from xdask_pipelines.placement.client.roads import measure_roads
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

    def losing(*args: object) -> object:
        nonlocal looks
        looks += 1
        drain(client, WEST, [args[2][WEST]])  # type: ignore[index]
        return measure(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(roads, "_measure", losing)
    found = measure_roads(client, CLIENT_REGION)
    assert looks == 3
    assert {(road.src, road.dst) for road in found} == {
        (src, dst) for src in (CLIENT_REGION, EAST, CENTRAL) for dst in (CLIENT_REGION, EAST, CENTRAL) if src != dst
    }
    assert not any(road.problem for road in found)
