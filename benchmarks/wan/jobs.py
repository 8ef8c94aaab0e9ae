"""The jobs, each as one lazy array for ways that see all Regions, and by hand for one cluster a Region.

Belongs here: what is computed. Does not belong here: where anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.wan.inputs import CENTRAL, EAST, WEST, WORKERS

Fields = Mapping[str, xr.DataArray]
Parts = Mapping[str, xr.DataArray]
#: Computes lazy arrays, each in the Region named, all at once.
Run = Callable[[Parts], Parts]


@dataclass(frozen=True)
class Job:
    """What is computed: the inputs it needs by name, the whole, and the same by hand, Region by Region."""

    what: str
    needs: tuple[str, ...]
    whole: Callable[[Fields], xr.DataArray]
    by_hand: Callable[[Fields, Run], xr.DataArray]


def _job(
    what: str,
    needs: tuple[str, ...],
    parts: Mapping[str, Callable[[Fields], xr.DataArray]],
    join: Callable[[Parts], xr.DataArray],
) -> Job:
    """A job of one part a Region, whose results are joined on the client when it is done by hand."""

    def lazy(fields: Fields) -> dict[str, xr.DataArray]:
        return {region: part(fields) for region, part in parts.items()}

    return Job(what, needs, lambda fields: join(lazy(fields)), lambda fields, run: join(run(lazy(fields))))


def _regridded(field: xr.DataArray, like: Any) -> xr.DataArray:
    from xdask_pipelines.climate import regrid

    return regrid(field, *like)


def _mean(field: xr.DataArray) -> xr.DataArray:
    return field.mean("time", dtype="f8")


def _speed(at: str) -> Callable[[Fields], xr.DataArray]:
    return lambda f: np.hypot(f[f"u_{at}"], f[f"v_{at}"])  # type: ignore[no-any-return]


def _one_degree() -> tuple[Any, Any]:
    return np.linspace(90, -90, 181), np.arange(360.0)


def _model_grid() -> tuple[Any, Any]:
    return np.linspace(90, -90, 144), 1.875 * np.arange(192)


def _alone(region: str) -> Callable[[Mapping[str, xr.DataArray]], xr.DataArray]:
    return lambda parts: parts[region]


def _chain(f: Fields) -> xr.DataArray:
    field = f[f"member_{WEST}"]
    for _ in range(50):  # each step needs the whole field before it
        field = 0.9 * field + 0.1 * field.mean(dtype="f8")
    return _mean(field)


JOBS = {
    "mean-to-regrid": _job(
        "mean of hourly fields, regridded to one degree",
        ("hourly",),
        {EAST: lambda f: _regridded(_mean(f["hourly"]), _one_degree())},
        _alone(EAST),
    ),
    "projection-minus-historic": _job(
        "mean of a projection minus mean of hourly fields, on the model's grid",
        ("hourly", "projection"),
        {
            EAST: lambda f: _regridded(_mean(f["hourly"]), _model_grid()),
            WEST: lambda f: _regridded(_mean(f["projection"]), _model_grid()),
        },
        lambda parts: parts[WEST] - parts[EAST],
    ),
    "wind-speed": _job(
        "mean over the globe of wind speed in one Region minus another's",
        ("u_east", "v_east", "u_west", "v_west"),
        {EAST: _speed("east"), WEST: _speed("west")},
        lambda parts: (parts[EAST] - parts[WEST]).mean(("lat", "lon"), dtype="f8"),
    ),
    "anomaly": Job(
        "variance of hourly fields about a climatology of another Region, broadcast over time",
        ("hourly", "projection"),
        lambda f: _variance(f["hourly"], _mean(f["projection"])),
        lambda f, run: run({EAST: _variance(f["hourly"], run({WEST: _mean(f["projection"])})[WEST])})[EAST],
    ),
    "rechunk": _job(
        "90th percentile over time: a rechunk from steps to columns inside one Region",
        ("u_east",),
        {EAST: lambda f: _percentile(f["u_east"])},
        _alone(EAST),
    ),
    "ensemble": _job(
        "mean of members in three Regions",
        tuple(f"member_{r}" for r in WORKERS),
        {r: lambda f, r=r: _mean(f[f"member_{r}"]) for r in WORKERS},
        lambda parts: (parts[EAST] + parts[WEST] + parts[CENTRAL]) / 3,
    ),
    "correlation": Job(
        "correlation map of the members of two Regions",
        (f"member_{EAST}", f"member_{WEST}"),
        lambda f: _correlation(f[f"member_{EAST}"], f[f"member_{WEST}"]),
        lambda f, run: run({EAST: _correlation(f[f"member_{EAST}"], run({WEST: f[f"member_{WEST}"]})[WEST].chunk())})[
            EAST
        ],
    ),
    "spread": Job(
        "zonal mean of the spread, the standard deviation, of members in three Regions",
        tuple(f"member_{r}" for r in WORKERS),
        lambda f: _spread([f[f"member_{r}"] for r in WORKERS]),
        lambda f, run: run(
            {EAST: _spread([f[f"member_{EAST}"], *run({r: f[f"member_{r}"] for r in (WEST, CENTRAL)}).values()])}
        )[EAST],
    ),
    "small-tasks": _job(
        "the greatest square of each of 8,664 small blocks, and their mean: 23,000 tasks as Dask makes them",
        ("u_east",),
        {
            EAST: lambda f: (
                (f["u_east"].chunk({"time": 1, "lat": 1, "lon": 360}) ** 2).max("lon").mean("lat", dtype="f8")
            )
        },
        _alone(EAST),
    ),
    "chain": _job(
        "a chain of 50 steps, each of which needs all of the one before",
        (f"member_{WEST}",),
        {WEST: _chain},
        _alone(WEST),
    ),
}


def _analysis(seed: int) -> Job:
    """An expression made from a seed, for our way alone: its fields are made in their Regions, and read by nobody."""

    def whole(fields: Fields) -> xr.DataArray:
        from benchmarks.analyses import Analysis  # importing it sets our optimiser

        return xr.DataArray(Analysis(seed, WORKERS).lazy)

    def by_hand(fields: Fields, run: Run) -> xr.DataArray:
        raise NotImplementedError("nobody does analyses made from a seed by hand")

    return Job(f"an analysis made from the seed {seed}", (), whole, by_hand)


#: Not in the table: the relay counts what they move.
ANALYSES = {f"analysis-{seed}": _analysis(seed) for seed in range(10)}


#: Done once by each way before anything is measured: it imports what the jobs need, on each worker.
WARM_UP = _job(
    "means of all Regions on a coarse grid, added up",
    tuple(f"member_{r}" for r in WORKERS),
    {
        r: lambda f, r=r: _regridded(_mean(f[f"member_{r}"]), (np.linspace(90, -90, 7), 30.0 * np.arange(12)))
        for r in WORKERS
    },
    lambda parts: sum(parts.values()),  # type: ignore[arg-type,return-value]
)


def _variance(hourly: xr.DataArray, climatology: xr.DataArray) -> xr.DataArray:
    about = _regridded(climatology, (hourly["lat"].values, hourly["lon"].values))
    return _mean((hourly - about) ** 2)


def _correlation(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    return xr.corr(a.astype("f8"), b.astype("f8"), "time")


def _spread(members: Sequence[xr.DataArray]) -> xr.DataArray:
    return xr.concat(members, "member").astype("f8").std("member").mean("lon")


def _percentile(field: xr.DataArray) -> xr.DataArray:
    by_column = field.chunk({"time": -1, "lat": -(-field.sizes["lat"] // 4)})
    return by_column.astype("f8").quantile(0.9, "time").drop_vars("quantile")
