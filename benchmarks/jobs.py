"""What is measured: regridding, searching the catalog. Months that are read through a pool are in `benchmarks.climate`.

Belongs here: jobs and the ways of doing them, ours first. A way takes the job's folder, sets up, and returns what is
to be measured; answers of all ways must agree. Does not belong here: clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import catalog, describing, nightly
from benchmarks.scheduler import ran, submitted

Way = Callable[[Path], Callable[[], Any]]


@dataclass(frozen=True)
class Job:
    """A job: what it is, how its folder is made (the names of ways left out come back), and the ways by name, ours first."""

    what: str
    prepare: Callable[[Path], Collection[str] | None]
    ways: dict[str, Way]
    rounds: int = 5


# ---- regridding -------------------------------------------------------------------------------------------------


def _field(folder: Path) -> Any:
    import xarray as xr

    lat, lon = np.linspace(90, -90, 721), np.arange(1440) * 0.25
    values = 280 + 20 * np.cos(np.deg2rad(lat))[:, None] * np.cos(np.deg2rad(3 * lon))[None]
    coords = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
    return xr.DataArray(values, coords, ("lat", "lon"), attrs={"units": "K"})


_LAT, _LON = np.linspace(-90, 90, 1801), np.arange(3600) * 0.1


def _regrid(method: Any) -> Way:
    def way(folder: Path) -> Callable[[], Any]:
        from xdask_pipelines.climate import regrid

        field = _field(folder)
        regrid(field, _LAT, _LON, method=method)  # matrices are made once for each pair of grids
        return lambda: list(regrid(field, _LAT, _LON, method=method).shape)

    return way


def _interp(folder: Path) -> Callable[[], Any]:
    field = _field(folder)
    return lambda: list(field.interp(lat=_LAT, lon=_LON).shape)


def _write_only(folder: Path) -> Callable[[], Any]:
    return lambda: list(np.ones((1801, 3600)).shape)


# ---- catalog ----------------------------------------------------------------------------------------------------

ENTRIES = 100_000


def _prepare_catalog(folder: Path) -> None:
    import csv

    from xdask_pipelines.catalog import Change, Entry, open_catalog

    rows = [
        {"source_id": f"M{i % 50}", "member_id": f"r{i // 50 % 100}i1p1f1", "experiment_id": f"ssp{i // 5_000}"}
        for i in range(ENTRIES)
    ]
    entries = [
        Entry(
            dataset="cmip6",
            region="us-west-2",
            layout="cmip6-pds",
            key=f"s/{i}",
            format="zarr2",
            variable="tas",
            facets=r,
        )
        for i, r in enumerate(rows)
    ]
    catalog = open_catalog(f"sqlite://{folder / 'catalog.sqlite'}")
    for start in range(0, ENTRIES, 20_000):
        catalog.commit(Change(entries[start : start + 20_000]))
    with (folder / "esm.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["source_id", "member_id", "experiment_id", "path"])
        writer.writeheader()
        writer.writerows({**r, "path": f"s/{i}"} for i, r in enumerate(rows))


_WANTED = {"source_id": "M7", "member_id": "r42i1p1f1", "experiment_id": "ssp3"}


def _search_ours(folder: Path) -> Callable[[], Any]:
    from xdask_pipelines.catalog import open_catalog

    def run() -> list[str]:
        catalog = open_catalog(f"sqlite://{folder / 'catalog.sqlite'}")
        return [e.key for e in catalog.resolve(dataset="cmip6", **_WANTED)]

    return run


def _search_pandas(folder: Path) -> Callable[[], Any]:
    import pandas as pd

    def run() -> list[str]:
        table = pd.read_csv(folder / "esm.csv")
        for name, value in _WANTED.items():
            table = table[table[name] == value]
        return list(table["path"])

    return run


JOBS = {
    "regrid": Job(
        "721 x 1440 to 1801 x 3600, float64",
        lambda folder: None,
        {
            "ours: bilinear": _regrid("bilinear"),
            "ours: conservative": _regrid("conservative"),
            "xarray.interp (neither cyclic nor at the poles)": _interp,
            "limit: writing the result": _write_only,
        },
    ),
    "catalog": Job(
        f"one of {ENTRIES:,} entries by three facets, opening included",
        _prepare_catalog,
        {"ours: SQLite": _search_ours, "pandas over a CSV, as intake-esm": _search_pandas},
    ),
    **{
        name: Job(what, prepare, ways, rounds=3)
        for name, what, prepare, ways in (*describing.jobs(), *catalog.jobs(), *nightly.jobs())
    },
    **{
        f"submit-{label}": Job(
            f"submitting {blocks:,} placed tasks of {regions} Region(s) and their sum; client and scheduler in one process",
            lambda folder: None,
            {
                "ours: assignment, fence and plugin": submitted(blocks, placed=True, regions=regions),
                "limit: Dask without placement": submitted(blocks, placed=False, regions=regions),
            },
        )
        for label, blocks, regions in (("20k", 20_000, 1), ("20k-two-regions", 20_000, 2), ("200k", 200_000, 1))
    },
    "run-20k": Job(
        "20,000 placed tasks and their sum on one worker, start to end; memory is the client's",
        lambda folder: None,
        {
            "ours: fence, plugin, evidence": ran(20_000, placed=True),
            "limit: Dask without placement": ran(20_000, placed=False),
        },
    ),
}
