"""Simulated runs of a few steps: what waits for what, and how much is held. No cluster, no Dask."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from xdask_pipelines.placement.prediction.forecast import (
    DISPATCH_SECONDS,
    READ_BYTES_PER_SECOND,
    SUBMIT_SECONDS,
    TASK_SECONDS,
    WORK_BYTES_PER_SECOND,
    Forecast,
    Step,
    forecast,
)
from xdask_pipelines.placement.scheduler.result_delivery import MAX_BYTES
from xdask_pipelines.placement.settings import Link, Rates, Settings

EAST, WEST, CLIENT = "east", "west", "client"
RTT, RATE = 0.2, 1e6
LINK = Link(rtt_seconds=RTT, bytes_per_second=RATE)
SETTINGS = Settings(
    client_region=CLIENT,
    links={f"{a}->{b}": LINK for a in (EAST, WEST, CLIENT) for b in (EAST, WEST, CLIENT) if a != b},
    pools={EAST: Rates(threads=2), WEST: Rates(threads=1)},
)
LARGE = MAX_BYTES + 1


def step(region: str | None = EAST, *needs: str, nbytes: int = 0, stored: int = 0, worked: int = 0) -> Step:
    return Step(region, needs, nbytes, stored, worked)


def run(steps: Mapping[str, Step], *wanted: str) -> Forecast:
    return forecast(steps, list(steps), set(wanted), SETTINGS)


def test_one_task_takes_its_way_its_work_and_the_word_that_it_is_done() -> None:
    one = run({"a": step(stored=int(READ_BYTES_PER_SECOND), worked=int(WORK_BYTES_PER_SECOND))}, "a")
    assert one.seconds == pytest.approx(SUBMIT_SECONDS + DISPATCH_SECONDS + RTT + TASK_SECONDS + 2, abs=1e-6)
    assert one.worker_seconds == {EAST: pytest.approx(TASK_SECONDS + 2)}


def test_each_task_of_a_chain_waits_a_round_trip_to_the_scheduler() -> None:
    chain = {"a": step(), "b": step(EAST, "a"), "c": step(EAST, "b")}
    assert run(chain, "c").round_trips == {EAST: 3}
    assert run(chain, "c").seconds - run({"a": step()}, "a").seconds == pytest.approx(
        2 * (RTT + TASK_SECONDS + DISPATCH_SECONDS)
    )


def test_threads_of_a_pool_work_side_by_side_and_no_more_than_there_are() -> None:
    second = int(WORK_BYTES_PER_SECOND)
    east = run({k: step(EAST, worked=second) for k in "abcd"}, *"abcd").seconds
    west = run({k: step(WEST, worked=second) for k in "abcd"}, *"abcd").seconds
    assert west - east == pytest.approx(2, abs=0.01)


def test_inputs_of_another_region_come_over_a_link_one_after_the_other() -> None:
    def join(nbytes: int) -> Forecast:
        parts = {k: step(WEST, nbytes=nbytes) for k in "ab"}
        return run({**parts, "sum": step(EAST, "a", "b", worked=0)}, "sum")

    assert join(int(RATE)).seconds - join(0).seconds == pytest.approx(2, abs=0.01)


def test_a_small_result_comes_with_its_report_and_a_large_one_is_fetched() -> None:
    small, large = (run({"a": step(nbytes=nbytes)}, "a").seconds for nbytes in (MAX_BYTES, LARGE))
    assert large - small == pytest.approx(RTT, abs=1e-4)


def test_on_one_machine_nothing_waits_for_links() -> None:
    steps = {"a": step(WEST, nbytes=int(RATE)), "b": step(EAST, "a")}
    one = forecast(steps, list(steps), {"b"}, Settings(client_region=CLIENT, links=SETTINGS.links, one_machine=True))
    assert one.seconds < SUBMIT_SECONDS + 0.1


def test_memory_is_held_from_the_start_of_a_task_to_the_end_of_its_last_user() -> None:
    steps = {
        "a": step(nbytes=100),
        "b": step(EAST, "a", nbytes=10),
        "c": step(EAST, "b", nbytes=1),
        "d": step(WEST, "b", nbytes=1000),
    }
    assert run(steps, "c", "d").peak_bytes == {EAST: 110, WEST: 1010}


def test_nothing_to_do_takes_no_time() -> None:
    assert run({}) == Forecast(0.0, {}, {}, {})
