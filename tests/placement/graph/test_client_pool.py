"""A pool in the client's Region joins small results of several Regions, which come to it side by side and unasked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from distributed.protocol.serialize import serialize

from tests.support.places import CENTRAL, CLIENT_REGION, EAST, SETTINGS, WEST
from xdask_pipelines.placement import compute, local_regions, pin, plan
from xdask_pipelines.placement.settings import Rates
from xdask_pipelines.placement.worker.arrivals import MAX_BYTES, Arrivals

JOINING = replace(SETTINGS, pools={**SETTINGS.pools, CLIENT_REGION: Rates(threads=1)})
EVERYWHERE = (EAST, WEST, CENTRAL)


def field(region: str, shape: tuple[int, ...] = (8, 10, 10)) -> da.Array:
    values = np.random.default_rng(list(region.encode())).random(shape)  # of each Region its own
    return pin(da.from_array(values, chunks=(2, *shape[1:])), region)


def ensemble(*shape: int) -> da.Array:
    east, west, central = (field(region, *[shape] if shape else []).mean(0) for region in EVERYWHERE)
    return (east + west + central) / 3


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_regions([*EVERYWHERE, CLIENT_REGION], settings=SETTINGS) as client:
        yield client


def asked_for(client: Client) -> list[Any]:
    """Keys that the workers of the client's Region got from other workers."""

    def look(dask_worker: Any) -> list[str]:
        own = f"pool-{CLIENT_REGION}" in dask_worker.state.total_resources
        return [str(key) for entry in dask_worker.transfer_incoming_log for key in entry["keys"]] if own else []

    return [key for keys in client.run(look).values() for key in keys]


def test_small_results_are_joined_where_they_are_wanted(client: Client) -> None:
    lazy = ensemble()
    predicted, before = plan(lazy, settings=JOINING), asked_for(client)
    (values,), evidence = compute(client, lazy)
    np.testing.assert_allclose(values, lazy.compute(scheduler="sync"), rtol=1e-15)
    assert evidence.tasks_by_region[CLIENT_REGION] == 1
    assert evidence.tasks_by_region == predicted.tasks_by_region
    assert evidence.bytes_across == predicted.bytes_across == {f"{r}->{CLIENT_REGION}": 800 for r in EVERYWHERE}
    assert asked_for(client) == before, "they came unasked"


def test_a_result_that_the_client_wants_too_crosses_once(client: Client) -> None:
    east = field(EAST).mean(0)
    lazy = [east, east - field(WEST).mean(0)]
    predicted = plan(*lazy, settings=JOINING)
    (mean, difference), evidence = compute(client, *lazy)
    np.testing.assert_allclose(mean - difference, field(WEST).mean(0).compute(scheduler="sync"), rtol=1e-12)
    assert evidence.bytes_across == predicted.bytes_across == {f"{r}->{CLIENT_REGION}": 800 for r in (EAST, WEST)}


def test_inputs_that_are_too_large_to_go_ahead_are_asked_for(client: Client) -> None:
    lazy = field(EAST, (4, 400, 400)).sum(0) - field(WEST, (4, 400, 400)).sum(0)
    predicted, before = plan(lazy, settings=JOINING), asked_for(client)
    (values,), evidence = compute(client, lazy)
    np.testing.assert_allclose(values, lazy.compute(scheduler="sync"), rtol=1e-12)
    assert evidence.tasks_by_region[CLIENT_REGION] == 1
    assert evidence.bytes_across == predicted.bytes_across == {f"{r}->{CLIENT_REGION}": 1_280_000 for r in (EAST, WEST)}
    assert len(asked_for(client)) == len(before) + 2


def test_results_that_fill_a_client_stay_in_their_pools() -> None:
    lazy = field(EAST, (2, 1200, 1200)) - field(WEST, (2, 1200, 1200))
    assert CLIENT_REGION not in plan(lazy, settings=JOINING).tasks_by_region
    assert CLIENT_REGION in plan(lazy.max(0)[:10], settings=JOINING).bytes_across.popitem()[0]


def test_without_a_pool_there_nothing_runs_in_the_clients_region() -> None:
    assert CLIENT_REGION not in plan(ensemble(), settings=SETTINGS).tasks_by_region


def test_nothing_waits_for_a_pool_there_that_has_no_worker() -> None:
    with local_regions([EAST, WEST], settings=JOINING) as client:
        lazy = field(EAST).mean(0) - field(WEST).mean(0)
        (values,), evidence = compute(client, lazy)
        np.testing.assert_allclose(values, lazy.compute(scheduler="sync"), rtol=1e-12)
        assert evidence.tasks_by_region.keys() == {EAST, WEST}
        assert evidence.bytes_across == {f"{WEST}->{EAST}": 800, f"{EAST}->{CLIENT_REGION}": 800}


def test_what_crosses_less_elsewhere_is_joined_there() -> None:
    predicted = plan((field(EAST, (8, 99, 99)).mean(0) * field(WEST).mean()).max(), settings=JOINING)
    assert predicted.bytes_across.keys() == {f"{WEST}->{EAST}", f"{EAST}->{CLIENT_REGION}"}
    assert sum(predicted.bytes_across.values()) < 1000


def test_of_several_workers_there_each_asks_for_what_it_needs() -> None:
    settings = replace(SETTINGS, pools={})
    with local_regions([EAST, WEST, CLIENT_REGION], processes=2, settings=settings) as client:
        lazy = field(EAST).mean(0) - field(WEST).mean(0)
        (values,), evidence = compute(client, lazy)
        np.testing.assert_allclose(values, lazy.compute(scheduler="sync"), rtol=1e-12)
        assert evidence.bytes_across == {f"{r}->{CLIENT_REGION}": 800 for r in (EAST, WEST)}
        assert len(asked_for(client)) >= 2


# ---- what is kept until it is asked for --------------------------------------------------------------------------------


def arrive(arrivals: Arrivals, key: str, value: Any, nbytes: int = 8) -> None:
    arrivals.arrived(key, nbytes, *serialize(value))


def test_arrivals_are_given_once() -> None:
    arrivals = Arrivals()
    arrive(arrivals, "x", 1.0)
    assert arrivals.take(["x", "y"]) == {"x": 1.0}
    assert arrivals.take(["x"]) == {}


def test_another_task_of_the_same_key_does_not_get_what_was_dropped() -> None:
    arrivals = Arrivals()
    arrive(arrivals, "x", 1.0)
    arrivals.left("x")
    assert arrivals.take(["x"]) == {}
    arrive(arrivals, "x", 1.0)
    arrive(arrivals, "x", 2.0)
    assert arrivals.take(["x"]) == {"x": 2.0}


def test_the_oldest_arrivals_go_first_where_all_are_too_many() -> None:
    arrivals = Arrivals()
    for i in range(3):
        arrive(arrivals, f"x{i}", i, nbytes=MAX_BYTES // 2)
    assert arrivals.take(["x0", "x1", "x2"]) == {"x1": 1, "x2": 2}


def test_what_cannot_be_unpickled_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    arrivals = Arrivals()
    arrivals.arrived("x", 8, {"serializer": "pickle"}, [b"\x80"])
    assert arrivals.take(["x"]) == {}
    assert "'x' was sent ahead and cannot be unpickled" in caplog.text
