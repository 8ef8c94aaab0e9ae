"""Clocks of Regions, as the heartbeats of their workers show them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.support.places import EAST, WEST
from xdask_pipelines.placement.client.roads import clock_skews


class Alone:
    """A client of a scheduler that has these workers."""

    def __init__(self, *workers: SimpleNamespace) -> None:
        self.scheduler = SimpleNamespace(workers=dict(enumerate(workers)))

    def run_on_scheduler(self, function: Any) -> Any:
        return function(self.scheduler)


def worker(region: str, delay: float, host: str) -> SimpleNamespace:
    """A worker whose last heartbeat came by so many seconds later than its own clock said."""
    return SimpleNamespace(resources={f"pool-{region}": 1.0}, time_delay=delay, host=host)


def test_the_clock_that_is_furthest_off_counts_and_ahead_is_positive() -> None:
    client = Alone(
        worker(EAST, 0.1, "a"),
        worker(EAST, -7.0, "b"),
        worker(WEST, 3.0, "c"),
        SimpleNamespace(resources={}, time_delay=9, host="d"),
    )
    assert clock_skews(client) == {EAST: 7.0, WEST: -3.0}  # type: ignore[arg-type]


def test_late_heartbeats_of_busy_workers_are_no_skew() -> None:
    client = Alone(*(worker(EAST, delay, "a") for delay in (4.0, 0.1, 6.0)), worker(WEST, 0.2, "b"))
    assert clock_skews(client) == {EAST: -0.1, WEST: -0.2}  # type: ignore[arg-type]
