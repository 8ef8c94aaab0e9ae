"""Ways around placement that people find: each is placed, or refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import futures_of, wait

from tests.support.access_helpers import described
from tests.support.places import CENTRAL, EAST, WEST, Cluster, array
from xdask_pipelines.access import open_entries
from xdask_pipelines.placement import PlacementError, compute

FIELD = np.arange(240.0).reshape(4, 6, 10)


@pytest.fixture
def western(running: Cluster, cluster: Cluster) -> xr.DataArray:
    """A lazy variable of a file in the west."""
    path = running.data[WEST] / "audit/field.nc"
    if not path.exists():
        path.parent.mkdir()
        axes = {"time": np.arange(4.0), "lat": np.linspace(50, -50, 6), "lon": np.arange(0.0, 360, 36)}
        units = {"time": "hours since 2000-01-01", "lat": "degrees_north", "lon": "degrees_east"}
        coordinates = {name: (name, values, {"units": units[name]}) for name, values in axes.items()}
        xr.Dataset({"t": (tuple(axes), FIELD, {"units": "K"})}, coordinates).to_netcdf(path, engine="netcdf4")
    return open_entries(described(cluster.client, WEST, "audit/field.nc"))["t"]


def test_work_submitted_on_placed_futures_runs_where_they_are(cluster: Cluster) -> None:
    held = array(EAST, (20, 5), (5, 5), 21).sum(axis=1).persist()
    wait(held)
    futures = futures_of(held)
    with cluster.recorder.recording() as recording:
        sums = [cluster.client.submit(np.sum, future, key=f"mine-{i}") for i, future in enumerate(futures)]
        total = sum(cluster.client.gather(sums))
    assert total == array(EAST, (20, 5), (5, 5), 21).compute(scheduler="sync").sum()
    assert recording.regions_of("mine") == {EAST}


def test_an_array_handed_to_map_blocks_by_name_is_an_input_like_others(cluster: Cluster) -> None:
    """As a keyword it becomes one value, made of all its blocks: none of them may be read or made elsewhere."""
    east, west = array(EAST, (12, 4), (4, 4), 31), array(WEST, (12, 4), (4, 4), 32)
    lazy = east.map_blocks(lambda block, other: block - other.mean(), other=west, dtype=float)
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, lazy)
    np.testing.assert_array_equal(got, east.compute(scheduler="sync") - west.compute(scheduler="sync").mean())
    for region in (EAST, WEST):
        assert recording.regions_of(f"pin@@{region.replace('-', '_')}") <= {region}
    assert evidence.tasks_by_region.keys() == {EAST, WEST}


def test_an_array_captured_by_a_function_cannot_be_read_elsewhere(cluster: Cluster, western: xr.DataArray) -> None:
    """Who computes inside a task meets the guard: nothing places what no scheduler sees."""
    captured = western.data

    def subtract(block: np.ndarray) -> np.ndarray:
        return block - captured.mean().compute(scheduler="sync")

    with pytest.raises(PlacementError, match=f"needs data of Region {WEST} was sent to worker"):
        compute(cluster.client, array(EAST, (4, 4), seed=33).map_blocks(subtract, dtype=float))


def test_reads_fused_at_any_depth_are_found(cluster: Cluster, western: xr.DataArray) -> None:
    """One block, a chain of means: Dask nests subgraphs in subgraphs, and each level is looked through."""
    lazy = western.data.rechunk(-1)
    for _ in range(5):
        lazy = (lazy - lazy.mean(axis=-1, keepdims=True)) * 2
    lazy = lazy.sum(axis=0).std()
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, lazy)
    assert np.isfinite(got)
    assert evidence.tasks_by_region == recording.tasks == {WEST: sum(evidence.tasks_by_region.values())}


def test_a_graph_optimised_twice_is_placed(cluster: Cluster) -> None:
    lazy = array(EAST, (20, 5), (5, 5), 41).mean(axis=0) - array(WEST, (20, 5), (5, 5), 42).mean(axis=0)
    (once,) = dask.optimize(lazy)
    (twice,) = dask.optimize(once * 1)
    (got,), evidence = compute(cluster.client, twice.sum())
    assert got == lazy.compute(scheduler="sync").sum()
    assert evidence.tasks_by_region.keys() == {EAST, WEST}


_BUILT_BEFORE = """
    import sys
    import numpy as np
    import dask.array as da

    def leaf(region, n):
        return da.map_blocks(lambda: np.full(5, n), name=f"read@@{region}-{n}", chunks=((5,) * 3,), dtype=int)

    difference = leaf("us_east_1", 51).sum() - leaf("us_west_2", 52).sum()
    from distributed import Client
    with Client(sys.argv[1]) as client:
        from xdask_pipelines.placement import compute
        (got,), evidence = compute(client, difference)
    assert got == -15, got
    assert evidence.tasks_by_region.keys() == {"us-east-1", "us-west-2"}, evidence
"""


def test_an_array_built_before_placement_was_imported_is_placed(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    words = [sys.executable, "-c", textwrap.dedent(_BUILT_BEFORE), address]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_work_is_not_stolen_across_regions(cluster: Cluster) -> None:
    """One Region has all the work, and others are idle."""

    def slow(block: Any) -> Any:
        from time import sleep

        sleep(0.02)
        return block

    lazy = array(CENTRAL, (120, 2), (2, 2), 61).map_blocks(slow, dtype=float).sum(axis=1)
    _, evidence = compute(cluster.client, lazy)
    assert evidence.tasks_by_region.keys() == {CENTRAL}
    assert {pair.split("->")[0] for pair in evidence.bytes_across} == {CENTRAL}
