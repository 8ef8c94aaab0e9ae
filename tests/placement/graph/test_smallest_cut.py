"""Whatever a graph looks like, nearly the least crosses: an integer programme over its layers says how much that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client

from benchmarks.analyses import CLIENT, REGIONS, Analysis, price, settings
from benchmarks.wan.smallest_cut import smallest_cut
from xdask_pipelines.placement import compute, local_regions, pin, plan
from xdask_pipelines.placement.settings import Settings

#: What a task may cost beyond the smallest cut.
TASK_BYTES = 2_000
SEEDS = range(200)
EAST, WEST, CENTRAL, SOUTH, NORTH = REGIONS


@pytest.fixture(scope="module", params=["even prices", "uneven prices"])
def pools(request: pytest.FixtureRequest) -> Iterator[tuple[Client, Settings]]:
    """Five Regions."""
    known = settings(even=request.param == "even prices")
    with local_regions(REGIONS, settings=known) as client:
        yield client, known


def cost(across: Mapping[str, int], known: Settings) -> float:
    return sum(n * price(known, *pair.split("->")) for pair, n in across.items())


def check(lazy: Any, least: float, pools: tuple[Client, Settings]) -> None:
    client, known = pools
    predicted = plan(lazy, settings=known)
    (got,), evidence = compute(client, lazy)
    with np.errstate(all="ignore"):
        expected = lazy.compute(scheduler="sync")
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    tasks = sum(evidence.tasks_by_region.values())
    assert cost(evidence.bytes_across, known) <= 1.1 * least + TASK_BYTES * tasks
    assert evidence.misplaced_tasks == 0
    told, was = (sum(x.bytes_across.values()) for x in (predicted, evidence))
    assert told == pytest.approx(was, rel=0.05, abs=500)
    assert predicted.tasks_by_region == evidence.tasks_by_region
    assert plan(lazy, settings=known).bytes_across == predicted.bytes_across


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("half", [0, 1])
def test_two_hundred_seeded_analyses_move_nearly_the_least(pools: tuple[Client, Settings], half: int) -> None:
    """Half of the seeds with each kind of prices."""
    even = price(pools[1], EAST, WEST) == price(pools[1], WEST, CLIENT)
    for seed in SEEDS[half + 2 * even :: 4]:
        analysis = Analysis(seed)
        try:
            check(analysis.lazy, analysis.least(pools[1]), pools)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


# ---- as people write them -------------------------------------------------------------------------------------------


def field(region: str, seed: int, dtype: str = "f4", hours: int = 24, chunk: int = 6) -> xr.DataArray:
    def make(block_info: Any = None) -> np.ndarray:
        location = block_info[None]["array-location"]
        rng = np.random.default_rng([seed, *(start for start, _ in location)])
        return (280 + rng.integers(0, 640, [stop - start for start, stop in location]) / 32).astype(dtype)

    shape = (hours, 60, 90)
    chunks = da.core.normalize_chunks((chunk, 60, 90), shape)
    values = da.map_blocks(make, chunks=chunks, dtype=dtype, meta=np.empty((0, 0, 0), dtype))
    coords = {"time": np.arange(hours), "lat": np.linspace(88.5, -88.5, 60), "lon": np.arange(0.0, 360, 4)}
    return xr.DataArray(pin(values, region), coords, ("time", "lat", "lon"))


def members(count: int) -> xr.DataArray:
    return xr.concat([field(region, i) for i, region in enumerate(REGIONS[:count])], "member")


def seasonal(x: xr.DataArray) -> xr.DataArray:
    return x.assign_coords(season=("time", x.time.values // 6 % 4)).groupby("season").mean()


def anomaly(x: xr.DataArray) -> xr.DataArray:
    return x - x.mean("time")


def weights(x: xr.DataArray) -> xr.DataArray:
    return np.cos(np.deg2rad(x.lat))


def land() -> xr.DataArray:
    rows, columns = np.ogrid[:60, :90]
    return xr.DataArray(da.from_array((rows + columns) % 3 > 0, chunks=(60, 90)), dims=("lat", "lon"))


def flat(x: xr.DataArray) -> da.Array:
    return da.concatenate(list(x.data)).reshape(-1, 60 * 90)


EXPRESSIONS: dict[str, Callable[[], xr.DataArray]] = {
    "correlation map": lambda: xr.corr(field(EAST, 1), field(WEST, 2), "time"),
    "covariance map": lambda: xr.cov(field(EAST, 1), field(WEST, 2), "time"),
    "root mean square error": lambda: np.sqrt(((field(EAST, 1) - field(WEST, 2)) ** 2).mean("time")),
    "ensemble mean of three": lambda: members(3).mean("member"),
    "ensemble mean of five": lambda: members(5).mean("member"),
    "spread of three": lambda: members(3).std("member"),
    "zonal mean of the spread": lambda: members(3).std("member").mean("lon"),
    "spread of two": lambda: members(2).std("member"),
    "variance in double precision": lambda: members(3).astype("f8").var("member"),
    "one spread of many small blocks": lambda: members(5).chunk(lat=10, lon=15).std(),
    "range of four": lambda: members(4).max("member") - members(4).min("member"),
    "median of three": lambda: members(3).chunk(member=-1).median("member").mean("time"),
    "seasonal climatology difference": lambda: seasonal(field(EAST, 1)) - seasonal(field(WEST, 2)),
    "difference of anomalies": lambda: anomaly(field(EAST, 1)) - anomaly(field(WEST, 2)),
    "weighted mean of a difference": lambda: (
        (field(EAST, 1) - field(WEST, 2)).weighted(weights(field(EAST, 1))).mean(("lat", "lon"))
    ),
    "where another is warm": lambda: field(EAST, 1).where(field(WEST, 2) > 290).mean("time"),
    "a mask for two Regions": lambda: (
        field(EAST, 1).where(land()).mean("time") - field(WEST, 2).where(land()).mean("time")
    ),
    "a mask for the difference": lambda: (field(EAST, 1) - field(WEST, 2)).where(land()).mean("time"),
    "regression slope": lambda: (
        (anomaly(field(EAST, 1)) * anomaly(field(WEST, 2))).sum("time") / (anomaly(field(EAST, 1)) ** 2).sum("time")
    ),
    "product of matrices": lambda: xr.dot(
        field(EAST, 1, "f8"), field(WEST, 2, "f8").rename(time="other"), dim=["lat", "lon"]
    ),
    "history before scenario": lambda: xr.concat([field(EAST, 1), field(WEST, 2)], "time").mean("time"),
    "global means of five": lambda: members(5).weighted(weights(field(EAST, 1))).mean(("lat", "lon")).std("member"),
    "last of two accumulations": lambda: (field(EAST, 1).cumsum("time") - field(WEST, 2).cumsum("time")).isel(time=-1),
    "points of a joined record": lambda: xr.DataArray(
        da.concatenate([field(EAST, 1).data, field(WEST, 2).data]).vindex[[1, 5, 30, 40], [3, 4, 5, 6], [7, 8, 9, 10]]
    ),
    "steps of a joined record": lambda: xr.concat([field(EAST, 1), field(WEST, 2)], "time").isel(time=[1, 30, 2, 40]),
    "spread over time of a joined record": lambda: (
        xr.concat([field(EAST, 1), field(WEST, 2)], "time").chunk(time=-1, lat=20).std("time")
    ),
    "running maximum of a joined record": lambda: (
        xr.concat([field(EAST, 1), field(WEST, 2)], "time").chunk(time=9).rolling(time=3).max().mean(("lat", "lon"))
    ),
    "covariances of a joined record": lambda: xr.DataArray(flat(members(3)) @ flat(members(3)).T),
    "wind speed of two Regions": lambda: np.hypot(field(EAST, 1), field(WEST, 2)).mean(("lat", "lon")),
}


def homes(lazy: xr.DataArray) -> dict[str, str]:
    names = lazy.__dask_graph__().layers
    return {n: r for n in names for r in REGIONS if n.startswith(f"pin@@{r.replace('-', '_')}-")}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_climate_expressions_as_people_write_them_move_nearly_the_least(
    pools: tuple[Client, Settings], name: str
) -> None:
    lazy, known = EXPRESSIONS[name](), pools[1]
    held = homes(lazy)
    least = smallest_cut(lazy, held, (*sorted(set(held.values())), CLIENT), CLIENT, lambda a, b: price(known, a, b))
    check(lazy, least, pools)
