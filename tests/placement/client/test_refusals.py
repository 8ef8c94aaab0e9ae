"""What placement refuses, in which words, and that refusals cannot be slept through."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, Scheduler

from tests.support.places import EAST, WEST, Cluster, array
from xdask_pipelines.access import call_at_home
from xdask_pipelines.errors import EmptyPool, LostComputation
from xdask_pipelines.placement import PlacementError, compute, pin
from xdask_pipelines.placement.client.compute import check_scheduler

PLUGIN = "xdask-placement"


def test_a_task_that_mixes_two_regions_is_refused_by_name_before_any_runs(cluster: Cluster) -> None:
    a, b = array(EAST, (10, 10), (5, 10)), array(WEST, (10, 10), (5, 10))
    with dask.config.set(array_optimize=da.optimization.optimize):
        (fused,) = dask.optimize(a - b)
    for attempt in (lambda: compute(cluster.client, fused), lambda: fused.compute()):
        with cluster.recorder.recording() as recording, pytest.raises(PlacementError, match="mixes data of") as caught:
            attempt()
        assert EAST in str(caught.value)
        assert WEST in str(caught.value)
        assert not recording.ran


def test_dask_itself_as_optimizer_is_refused_on_the_scheduler(cluster: Cluster) -> None:
    a, b = array(EAST, (10, 10), (5, 10)), array(WEST, (10, 10), (5, 10))
    with dask.config.set(array_optimize=da.optimization.optimize), pytest.raises(PlacementError, match="mixes data of"):
        (a - b).compute()


def test_too_many_tasks_are_refused_with_what_to_do(cluster: Cluster) -> None:
    many = pin(da.ones(40_001, chunks=1), EAST)
    with pytest.raises(PlacementError, match=r"40,001 tasks.*at most 40,000.*Split it"):
        compute(cluster.client, many)
    with pytest.raises(PlacementError, match=r"41,294 tasks.*at most 40,000.*2 or more partitions"):
        many.sum().compute()


def test_query_planning_is_refused_by_name(cluster: Cluster) -> None:
    with dask.config.set({"array.query-planning": True}), pytest.raises(PlacementError, match="query-planning"):
        compute(cluster.client, array(EAST, (2,)))


def test_importing_placement_under_query_planning_tells_what_to_set() -> None:
    environment = {**os.environ, "DASK_ARRAY__QUERY_PLANNING": "True"}
    run = subprocess.run(
        [sys.executable, "-c", "import xdask_pipelines.placement"], env=environment, capture_output=True, text=True
    )
    assert run.returncode != 0
    assert "DASK_ARRAY__QUERY_PLANNING=False" in run.stderr


def test_without_the_plugin_nothing_is_read(tmp_path: Any) -> None:
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None, resources={f"pool-{WEST}": 1}) as other,
        Client(other, set_as_default=False) as client,
    ):
        call = call_at_home("list", EAST, os.listdir, "/")
        with pytest.raises(PlacementError, match="does not place tasks"):
            compute(client, call)
        with pytest.raises(PlacementError, match=f"{EAST} was sent to worker .*pool-{WEST}"):
            client.compute(call).result()


def test_without_any_cluster_nothing_is_read() -> None:
    with pytest.raises(PlacementError, match="this process is not a worker"):
        call_at_home("list", EAST, os.listdir, "/").compute(scheduler="sync")


def _break(what: str, dask_scheduler: Scheduler | None = None) -> None:
    plugin = dask_scheduler.plugins[PLUGIN]  # type: ignore[union-attr]
    if what == "place":

        def fail(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError("a bug in placement")

        plugin._place = fail
    elif what == "report":

        async def nothing(**kwargs: Any) -> None:
            return None

        dask_scheduler.handlers["xdask_report"] = nothing  # type: ignore[union-attr]
    elif what == "version":
        dask_scheduler.handlers["xdask_version"] = lambda: {"version": "0.0.0"}  # type: ignore[union-attr]
    else:
        plugin.__dict__.pop("_place", None)
        plugin.__dict__.pop("_assign", None)
        dask_scheduler.handlers["xdask_report"] = plugin.ledger._answer_report  # type: ignore[union-attr]
        dask_scheduler.handlers["xdask_version"] = plugin._answer_version  # type: ignore[union-attr]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("what", "message"),
    [("place", "a bug in placement"), ("report", "no placement report"), ("version", "runs xdask_pipelines 0.0.0")],
)
def test_a_result_without_a_true_report_is_refused(cluster: Cluster, what: str, message: str) -> None:
    cluster.client.run_on_scheduler(_break, what)
    try:
        with pytest.raises(PlacementError, match=message):
            compute(cluster.client, array(EAST, (4,), seed=7).sum())
    finally:
        cluster.client.run_on_scheduler(_break, "")
    compute(cluster.client, array(EAST, (4,), seed=7).sum())


def _misplace(dask_scheduler: Scheduler | None = None) -> None:
    plugin = dask_scheduler.plugins[PLUGIN]  # type: ignore[union-attr]
    assign = plugin._assign
    plugin._assign = lambda ts, region: assign(ts, WEST)


@pytest.mark.alone
def test_a_task_that_ran_elsewhere_makes_the_result_worthless(cluster: Cluster) -> None:
    cluster.client.run_on_scheduler(_misplace)
    try:
        with pytest.raises(PlacementError, match=f"belongs in {EAST} and ran in {WEST}"):
            compute(cluster.client, array(EAST, (4,), seed=8).sum())
    finally:
        cluster.client.run_on_scheduler(_break, "")


def _be_patient(seconds: float, dask_scheduler: Scheduler | None = None) -> float:
    pools = dask_scheduler.plugins[PLUGIN].empty_pools  # type: ignore[union-attr]
    before, pools.seconds = pools.seconds, seconds
    return float(before)


def test_a_region_without_any_pool_is_named_with_what_waits_for_it(cluster: Cluster) -> None:
    before = cluster.client.run_on_scheduler(_be_patient, 1.0)
    try:
        lazy = array("sa-east-1", (4, 4), (1, 4)).sum() + array(EAST, (4,)).sum()
        for attempt in (lambda: compute(cluster.client, lazy), lambda: lazy.compute()):
            with pytest.raises(EmptyPool, match=r"pool-sa-east-1 .*has no worker; \d tasks waited 1 s") as told:
                attempt()
            assert "This Region is not configured. Available: us-east-1, us-west-2" in str(told.value)
    finally:
        cluster.client.run_on_scheduler(_be_patient, before)


def test_a_task_s_own_error_comes_through_as_it_is(cluster: Cluster) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise FileNotFoundError("the user's own")

    with pytest.raises(FileNotFoundError, match="the user's own"):
        compute(cluster.client, array(EAST, (4,)).map_blocks(fail, meta=np.empty(0)))


def test_a_closed_client_is_told_so(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    client = Client(address, set_as_default=False)
    client.close()
    with pytest.raises(LostComputation, match="not connected"):
        check_scheduler(client)
