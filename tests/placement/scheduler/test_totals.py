"""The numbers behind the panels are those of the evidence, and of who waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from time import monotonic, sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from dask.distributed import Client, Scheduler

from tests.support.access_helpers import described
from tests.support.places import CENTRAL, CLIENT_REGION, EAST, WEST, Cluster
from xdask_pipelines.access import open_entries
from xdask_pipelines.placement import compute, pin
from xdask_pipelines.placement.dashboard.samples import Load, look
from xdask_pipelines.synthetic import write_era5_month

#: Totals are everybody's.
pytestmark = pytest.mark.alone


def _look(dask_scheduler: Scheduler | None = None) -> dict[str, Any]:
    """Totals of the plugin, and the pools as the panels see them."""
    plugin = dask_scheduler.plugins["xdask-placement"]  # type: ignore[union-attr]
    totals = plugin.ledger.totals
    pools = look(dask_scheduler, totals, plugin.settings.pools).pools
    return {
        **{name: dict(getattr(totals, name)) for name in ("tasks", "read", "across", "waiting")},
        "pools": {region: asdict(load) for region, load in pools.items()},
        "memory": len(totals._waits_in),
    }


def looked(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.run_on_scheduler(_look)
    return found


def since(before: dict[str, Any], after: dict[str, Any], name: str) -> Counter[str]:
    return +(Counter(after[name]) - Counter(before[name]))


def until(client: Client, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first look that shows what is awaited, or the last one."""
    deadline = monotonic() + 10
    while not condition(seen := looked(client)) and monotonic() < deadline:
        sleep(0.05)
    return seen


def test_totals_grow_by_what_evidence_says(cluster: Cluster) -> None:
    client = cluster.client
    root = cluster.data[EAST] / "totals"
    file = write_era5_month(root, 2011, 3, hours=24, shape=(19, 36), chunks=(12, 19, 36))
    key = str(file.relative_to(cluster.data[EAST]))
    (field,) = open_entries(described(client, EAST, key)).data_vars.values()
    made = pin(da.random.default_rng(1).random((24, 19, 36), chunks=(6, 19, 36)), WEST)
    before = looked(client)
    _, evidence = compute(client, field.data.mean(axis=0) - made.mean(axis=0), made.sum())
    after = looked(client)
    assert evidence.tasks_by_region.keys() == {EAST, WEST}
    assert evidence.bytes_read_by_region.keys() == {EAST}
    assert len(evidence.bytes_across) >= 2
    assert since(before, after, "tasks") == evidence.tasks_by_region
    assert since(before, after, "read") == evidence.bytes_read_by_region
    assert since(before, after, "across") == evidence.bytes_across
    assert {r: after["pools"][r]["done"] for r in (EAST, WEST)} == {r: after["tasks"][r] for r in (EAST, WEST)}


def test_totals_know_what_no_evidence_was_asked_of(cluster: Cluster) -> None:
    before = looked(cluster.client)
    pin(da.ones(10, chunks=5), CENTRAL).sum().compute()
    # Workers tell what they sent after they have sent it.
    after = until(cluster.client, lambda found: bool(since(before, found, "across")))
    assert since(before, after, "tasks").keys() == {CENTRAL}
    assert since(before, after, "across").keys() == {f"{CENTRAL}->{CLIENT_REGION}"}


def test_who_waits_for_a_pool_without_workers_is_counted_until_it_goes(cluster: Cluster) -> None:
    client, nowhere = cluster.client, "ap-south-1"
    waiting = client.persist(pin(da.ones((12, 2), chunks=(2, 2)), nowhere))
    seen = until(client, lambda found: found["waiting"].get(nowhere, 0) == 6)
    assert seen["pools"][nowhere] == asdict(Load(waiting=6))
    del waiting
    seen = until(client, lambda found: found["memory"] == 0)
    assert seen["memory"] == seen["waiting"][nowhere] == 0
    assert nowhere not in seen["pools"]


def test_who_runs_and_who_waits_at_a_worker_is_seen_while_it_does(cluster: Cluster) -> None:
    def slow(block: np.ndarray) -> np.ndarray:
        sleep(0.4)
        return block

    client = cluster.client
    done = looked(client)["pools"][WEST]["done"]
    running = client.persist(pin(da.ones(12, chunks=2), WEST).map_blocks(slow, meta=np.empty(0)))
    seen = until(client, lambda found: found["pools"][WEST]["running"] == 1)["pools"]
    assert seen[WEST]["workers"] == seen[WEST]["threads"] == 1
    assert seen[WEST]["running"] == 1
    assert seen[WEST]["processing"] > 1
    assert seen[EAST]["processing"] == 0
    client.gather(client.compute(running.sum()))
    last = until(client, lambda found: found["pools"][WEST]["processing"] == 0)["pools"][WEST]
    assert (last["processing"], last["running"], last["waiting"]) == (0, 0, 0)
    assert last["done"] >= done + 6
