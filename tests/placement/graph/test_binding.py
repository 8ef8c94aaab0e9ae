"""Where tasks run that have several homes, or none, and the ways of computing them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client, wait
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.places import CENTRAL, CLIENT_REGION, EAST, WEST, Cluster, array
from xdask_pipelines.placement import Evidence, PlacementError, compute, pin
from xdask_pipelines.placement.client.scheduler_rpc import RegionProgress


def between_workers(moved: Any) -> dict[str, int]:
    return {pair: n for pair, n in moved.items() if CLIENT_REGION not in pair and n}


# ---- late binding ---------------------------------------------------------------------------------------------------


def test_a_task_of_two_regions_runs_where_most_bytes_are(cluster: Cluster) -> None:
    small, large = array(EAST, (10,)), array(WEST, (50, 10))
    with cluster.recorder.recording() as recording:
        compute(cluster.client, large - small)
    assert recording.regions_of("sub") == {WEST}
    assert between_workers(recording.moved) == {f"{EAST}->{WEST}": 80}


def test_prices_count_and_not_bytes_alone(cluster: Cluster) -> None:
    dear, cheap = array(CENTRAL, (10, 10)), array(EAST, (50, 10, 10))
    with cluster.recorder.recording() as recording:
        compute(cluster.client, cheap[:5] - dear)  # 4,000 bytes at 1 from the east against 800 at 9 from central
    assert recording.regions_of("sub") == {CENTRAL}
    assert between_workers(recording.moved) == {f"{EAST}->{CENTRAL}": 4_000}


def test_wind_speed_east_minus_west_ships_one_array_not_two(cluster: Cluster) -> None:
    u, v = (array(EAST, (40, 50), (20, 50), seed) for seed in (1, 2))
    u2, v2 = (array(WEST, (40, 50), (20, 50), seed) for seed in (3, 4))
    difference = da.sqrt(u**2 + v**2) - da.sqrt(u2**2 + v2**2)
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, difference)
    np.testing.assert_array_equal(got, difference.compute(scheduler="sync"))
    assert sum(between_workers(recording.moved).values()) == u.nbytes
    assert sum(between_workers(evidence.bytes_across).values()) == u.nbytes


def test_a_pin_of_data_of_two_regions_decides_where_all_that_only_it_needs_runs(cluster: Cluster) -> None:
    a, b = array(EAST, (50, 10)), array(WEST, (10,))
    with cluster.recorder.recording() as recording:
        compute(cluster.client, pin((a - b) * 2, CENTRAL).sum())
    assert recording.regions_of("mul") == recording.regions_of("sum") == {CENTRAL}
    assert between_workers(recording.moved) == {f"{EAST}->{CENTRAL}": a.nbytes, f"{WEST}->{CENTRAL}": b.nbytes}


def test_a_pin_leaves_reductions_below_it_where_their_data_is(cluster: Cluster) -> None:
    a = array(EAST, (50, 10), (10, 10))
    with cluster.recorder.recording() as recording:
        (got,), _ = compute(cluster.client, pin(a.sum(axis=0), WEST) + 1)
    np.testing.assert_array_equal(got, a.sum(axis=0).compute(scheduler="sync") + 1)
    assert between_workers(recording.moved) == {f"{EAST}->{WEST}": 80}


def test_xarray_objects_are_pinned_whole_with_what_they_carry(cluster: Cluster) -> None:
    values = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("y", "x"), coords={"x": [1, 2, 3]}, attrs={"units": "K"})
    pinned = pin(xr.Dataset({"a": values, "b": values.chunk(x=1), "n": ((), 3)}, attrs={"title": "t"}), WEST)
    (got,), evidence = compute(cluster.client, pinned)
    xr.testing.assert_identical(got, xr.Dataset({"a": values, "b": values, "n": ((), 3)}, attrs={"title": "t"}))
    assert set(evidence.tasks_by_region) == {WEST}
    (one,), evidence = compute(cluster.client, pin(values, EAST))
    xr.testing.assert_identical(one, values)
    assert set(evidence.tasks_by_region) == {EAST}


def test_evidence_adds_up_and_survives_json() -> None:
    a = Evidence({EAST: 2}, 0, 1, 1, {EAST: 10}, {f"{EAST}->{WEST}": 5}, 1.5)
    b = Evidence({EAST: 1, WEST: 4}, 0, 0, 0, {WEST: 7}, {f"{EAST}->{WEST}": 3}, 0.5)
    total = Evidence({EAST: 3, WEST: 4}, 0, 1, 1, {EAST: 10, WEST: 7}, {f"{EAST}->{WEST}": 8}, 2.0)
    assert Evidence.total([a, b]) == total == Evidence.from_dict(json.loads(json.dumps(total.as_dict())))
    assert Evidence.total([]) == Evidence()


def test_only_arrays_can_be_pinned_and_only_to_a_region() -> None:
    with pytest.raises(PlacementError, match="not int"):
        pin(3, EAST)
    with pytest.raises(PlacementError, match="lower-case"):
        pin(da.ones(3), "US East")


@pytest.mark.parametrize("other", [EAST, WEST])
def test_p2p_rechunk_runs_at_home_and_its_pieces_are_in_the_evidence(cluster: Cluster, other: str) -> None:
    a, b = array(EAST, (60, 40), (10, 40), 1), array(other, (20, 40), (10, 40), 2)
    joined = da.concatenate([a, b])
    lazy = joined.rechunk((80, 5), method="p2p") * 2
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, lazy)
    np.testing.assert_array_equal(got, joined.compute(scheduler="sync") * 2)
    assert recording.regions_of("shuffle-barrier") == recording.regions_of("mul") == {EAST}
    assert evidence.misplaced_tasks == 0
    crossed = between_workers(evidence.bytes_across)
    if other == EAST:
        assert set(recording.ran) == {EAST}
        assert not crossed
    else:
        assert recording.tasks[WEST] == 2, recording.ran
        assert b.nbytes <= crossed[f"{WEST}->{EAST}"] <= 1.5 * b.nbytes + 5_000  # small pieces travel pickled


# ---- ways of computing ----------------------------------------------------------------------------------------------


def test_what_is_not_lazy_passes_through(cluster: Cluster) -> None:
    assert compute(cluster.client, 3, "x")[0] == (3, "x")
    results, _ = compute(cluster.client, 3, array(EAST, (4,)).sum() * 0, None)
    assert results == (3, 0.0, None)


def test_a_client_that_is_not_the_default_one_computes(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    with Client(address, set_as_default=False) as client:
        (got,), evidence = compute(client, array(EAST, (40, 4), (10, 4)).sum())
    assert got > 0
    assert evidence.tasks_by_region.keys() == {EAST}


def test_plain_compute_is_placed_too(cluster: Cluster) -> None:
    lazy = (array(EAST, (20, 5), (10, 5), 1).mean(axis=0) - array(WEST, (20, 5), (10, 5), 2).mean(axis=0)).sum()
    with cluster.recorder.recording() as recording:
        got = lazy.compute()
    assert got == lazy.compute(scheduler="sync")
    for region in (EAST, WEST):
        assert recording.regions_of("mean") <= {EAST, WEST}
        assert recording.regions_of(f"pin@@{region.replace('-', '_')}") <= {region}


def test_an_unoptimised_graph_is_placed(cluster: Cluster) -> None:
    lazy = array(EAST, (20, 5), (10, 5), 1).sum() - array(WEST, (20, 5), (10, 5), 2).sum()
    with cluster.recorder.recording() as recording:
        got = cluster.client.compute(lazy, optimize_graph=False).result()
    assert got == lazy.compute(scheduler="sync")
    for region in (EAST, WEST):
        assert recording.regions_of(f"pin@@{region.replace('-', '_')}") == {region}


def test_persisted_data_is_reused_and_reported_as_such(cluster: Cluster) -> None:
    held = array(EAST, (20, 5), (10, 5), 11).persist()
    wait(held)
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, held.sum())
    assert got == array(EAST, (20, 5), (10, 5), 11).sum().compute(scheduler="sync")
    assert evidence.reused_tasks == 2
    assert evidence.tasks_by_region == recording.tasks == {EAST: 3}


def test_scattered_data_follows_the_placed_task_that_uses_it(cluster: Cluster) -> None:
    future = cluster.client.scatter(np.arange(5.0))
    lazy = array(EAST, (20, 5), (10, 5), 12) + da.from_delayed(dask.delayed(future), (5,), float)
    (got,), evidence = compute(cluster.client, lazy.sum())
    assert got == (array(EAST, (20, 5), (10, 5), 12) + np.arange(5.0)).sum().compute(scheduler="sync")
    assert evidence.tasks_by_region.keys() == {EAST}


def test_progress_counts_up_to_what_was_planned(cluster: Cluster) -> None:
    def slow(block: np.ndarray) -> np.ndarray:
        from time import sleep

        sleep(0.3)
        return block

    seen: list[dict[str, RegionProgress]] = []
    lazy = array(EAST, (6, 5), (1, 5), 13).map_blocks(slow, meta=np.empty((0, 0)))
    compute(cluster.client, lazy, progress=lambda state: seen.append(dict(state)))
    done = [state[EAST].done for state in seen]
    assert done == sorted(done)
    assert seen[-1][EAST] == (6, 6, 0)
    assert any(0 < n < 6 for n in done)


_STRANGER = """
    import sys
    import numpy as np
    import dask.array as da
    from distributed import Client

    def leaf(region, n):
        return da.map_blocks(lambda: np.full(5, n), name=f"read@@{region}-{n}", chunks=((5,) * 3,), dtype=int)

    with Client(sys.argv[1]) as client:
        assert leaf("us_east_1", 2).sum().compute() == 30
        assert da.ones(4, chunks=2).sum().compute() == 4
        try:
            (leaf("us_east_1", 2) - leaf("us_west_2", 3)).compute()
        except Exception as error:
            assert "mixes data of" in str(error), error
        else:
            raise SystemExit("the mixture was computed")
    assert "xdask_pipelines.placement" not in sys.modules
"""


def test_a_process_that_never_imported_the_package_is_placed_or_refused(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    with cluster.recorder.recording() as recording:
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_STRANGER), address], capture_output=True, text=True, timeout=60
        )
    assert run.returncode == 0, run.stderr
    assert recording.regions_of("read@@us_east_1") <= {EAST}


# ---- any graph ------------------------------------------------------------------------------------------------------

_UNARY = {
    "double": lambda x: x * 2,
    "sum": lambda x: x.sum(axis=0, keepdims=True) + x * 0,
    "flip": lambda x: x[::-1],
    "shift": lambda x: np.concatenate([x[2:], x[:2]]),
    "mean": lambda x: x - x.mean(),
    "coarse": lambda x: x.reshape(3, 2, 4).sum(axis=1)[[0, 1, 2, 0, 1, 2]],
}
_BINARY = {
    "subtract": lambda x, y: x - y,
    "stack": lambda x, y: np.stack([x, y]).max(axis=0),
    "where": lambda x, y: np.where(x > y, x, 0),
    "outer": lambda x, y: x * y.sum(axis=0),
}
_STEPS = st.lists(
    st.tuples(st.sampled_from([*_UNARY, *_BINARY]), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, regions=st.sampled_from([(EAST, WEST), (EAST, WEST, CENTRAL)]))
def test_any_graph_over_some_regions_is_placed_and_equals_numpy(
    cluster: Cluster, steps: list[Any], regions: tuple[str, ...]
) -> None:
    lazy = [array(region, (6, 4), (2, 4), seed) for seed, region in enumerate(regions)]
    dense = [x.compute(scheduler="sync") for x in lazy]
    for name, i, j in steps:
        for values in (lazy, dense):
            x, y = values[i % len(values)], values[j % len(values)]
            values.append(_UNARY[name](x) if name in _UNARY else _BINARY[name](x, y))
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, lazy[-1])
    np.testing.assert_allclose(got, dense[-1], rtol=1e-12)
    assert evidence.neutral_tasks == 0
    assert sum(evidence.tasks_by_region.values()) == sum(recording.tasks.values())
    for region in (EAST, WEST):
        assert recording.regions_of(f"pin@@{region.replace('-', '_')}") <= {region}
    for region in regions:
        assert recording.regions_of(f"pin@@{region.replace('-', '_')}") <= {region}
