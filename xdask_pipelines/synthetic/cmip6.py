"""Members of CMIP6-like experiments as consolidated Zarr v2 stores, in the paths of the cmip6-pds bucket.

Belongs here: the store, its calendar and bounds. Does not belong here: the weather itself (``fields``).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

import cftime
import numpy as np
import xarray as xr
from numcodecs import Blosc
from numpy.typing import NDArray

from xdask_pipelines.synthetic import fields
from xdask_pipelines.synthetic.faults import KELVIN_AT_ZERO_CELSIUS, Fault, truncate, turn

_TIME_UNITS = "days since 1850-01-01"
_OLDER_VERSION = "v20180101"


def write_cmip6_member(
    root: str | os.PathLike[str],
    *,
    experiment_id: str = "ssp245",
    member_id: str = "r1i1p1f2",
    years: range = range(2015, 2017),
    calendar: Literal["360_day", "noleap", "standard"] = "360_day",
    source_id: str = "UKESM1-0-LL",
    version: str = "v20190507",
    shape: tuple[int, int] = (144, 192),
    chunk_months: int = 600,
    warming: float = 0.03,
    seed: int = 0,
    fault: Fault | None = None,
) -> Path:
    """Write monthly ``tas`` of one member of one experiment.

    Parameters
    ----------
    root
        The folder that holds the activities (``CMIP``, ``ScenarioMIP``).
    years
        Whole years, such as ``range(2015, 2101)``.
    calendar
        CF calendar of ``time`` and ``time_bnds``.
    shape
        Rows and columns of cells; no cell is centred on a pole.
    chunk_months
        Months in one chunk; a chunk holds whole fields.
    warming
        What is added everywhere, in K per year since 1990; years before are colder.
    seed
        Same seed and member, same weather.
    fault
        What should be wrong with the store.

    Returns
    -------
    The store's folder. An existing store is replaced, never seen half-written.
    """
    activity_id = "CMIP" if experiment_id in {"historical", "piControl"} else "ScenarioMIP"
    facets = {
        "activity_id": activity_id,
        "institution_id": "MOHC",
        "source_id": source_id,
        "experiment_id": experiment_id,
        "member_id": member_id,
        "table_id": "Amon",
        "variable_id": "tas",
        "grid_label": "gn",
    }
    dataset = _member(facets, years, calendar, shape, warming, [seed, *member_id.encode()], fault)
    if activity_id == "ScenarioMIP":
        dataset.attrs |= {
            "parent_experiment_id": "historical",
            "parent_source_id": source_id,
            "parent_variant_label": member_id,
        }
    folder = Path(root).joinpath(*facets.values())
    if fault is Fault.DUPLICATE_VERSION:
        _write(dataset.assign(tas=dataset.tas + np.float32(1.0)), folder / _OLDER_VERSION, chunk_months)
    store = folder / version
    _write(dataset, store, chunk_months)
    if fault is Fault.TRUNCATED:
        truncate(store / "tas" / "0.0.0")
    return store


def _member(
    facets: dict[str, str],
    years: range,
    calendar: str,
    shape: tuple[int, int],
    warming: float,
    seed: list[int],
    fault: Fault | None,
) -> xr.Dataset:
    """The store's content, with time and its bounds as numbers."""
    lat_edges = np.linspace(-90.0, 90.0, shape[0] + 1)
    lon_edges = np.linspace(0.0, 360.0, shape[1] + 1)
    lat, lat_bounds = _centres(lat_edges)
    lon, lon_bounds = _centres(lon_edges)
    months = [(year, month) for year in years for month in range(1, 13)] + [(years[-1] + 1, 1)]
    edges = cftime.date2num(
        [cftime.datetime(year, month, 1, calendar=calendar) for year, month in months], _TIME_UNITS, calendar
    )
    time, time_bounds = _centres(np.asarray(edges, dtype=np.float64))
    elapsed_years = np.arange(time.size) / 12
    tas = fields.values(
        "air_temperature",
        lat,
        lon,
        time * 24,
        year_fraction=(elapsed_years + 0.5 / 12) % 1,
        trend=warming * (elapsed_years + years[0] - 1990),
        seed=seed,
    )
    rows, columns, lon_in_store = turn(fault, lat, lon)
    lat_in_store = lat[rows]
    lat_bounds = lat_bounds[rows]
    if fault is Fault.FLIPPED_LATITUDES:
        lat_bounds = lat_bounds[:, ::-1]
    lon_bounds = lon_bounds[columns] + (lon_in_store - lon[columns])[:, None]
    tas = tas[:, rows][:, :, columns]
    units = "K"
    if fault is Fault.WRONG_UNITS:
        tas, units = tas - np.float32(KELVIN_AT_ZERO_CELSIUS), "degC"
    if fault is Fault.NAN_COORDINATE:
        lat_in_store[shape[0] // 3] = np.nan
    if fault is Fault.NAN_VALUE:
        tas[0, shape[0] // 2, shape[1] // 2] = np.nan

    reference = {"units": _TIME_UNITS, "calendar": calendar}
    dataset = xr.Dataset(
        {
            "tas": (
                ("time", "lat", "lon"),
                tas,
                {
                    "standard_name": "air_temperature",
                    "units": units,
                    "long_name": "Near-Surface Air Temperature",
                    "cell_methods": "area: time: mean",
                },
            )
        },
        coords={
            "time": (
                "time",
                time,
                {"standard_name": "time", "axis": "T", "bounds": "time_bnds", **reference},
            ),
            "lat": (
                "lat",
                lat_in_store,
                {"standard_name": "latitude", "units": "degrees_north", "axis": "Y", "bounds": "lat_bnds"},
            ),
            "lon": (
                "lon",
                lon_in_store,
                {"standard_name": "longitude", "units": "degrees_east", "axis": "X", "bounds": "lon_bnds"},
            ),
            "time_bnds": (("time", "bnds"), time_bounds, reference),
            "lat_bnds": (("lat", "bnds"), lat_bounds),
            "lon_bnds": (("lon", "bnds"), lon_bounds),
        },
        attrs={
            **facets,
            "variant_label": facets["member_id"],
            "title": "Synthetic data laid out as CMIP6",
            "mip_era": "CMIP6",
            "frequency": "mon",
            "Conventions": "CF-1.7 CMIP-6.2",
        },
    )
    if fault is Fault.MISSING_STEP:
        dataset = dataset.isel(time=np.arange(time.size) != time.size // 2)
    return dataset


def _centres(edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres, shape (n,), and bounds, shape (n, 2), of n cells between n + 1 edges."""
    return (edges[:-1] + edges[1:]) / 2, np.stack([edges[:-1], edges[1:]], axis=1)


def _write(dataset: xr.Dataset, store: Path, chunk_months: int) -> None:
    """Write a store next to its final path, then move it there."""
    encoding: dict[str, dict[str, object]] = {
        str(name): {"_FillValue": None, "compressors": Blosc("lz4", 1, Blosc.SHUFFLE)} for name in dataset.variables
    }
    steps, rows, columns = dataset.tas.shape
    encoding["tas"]["chunks"] = (min(chunk_months, steps), rows, columns)
    unfinished = store.with_name(f".{store.name}.{os.getpid()}.unfinished")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    dataset.to_zarr(unfinished, zarr_format=2, consolidated=True, encoding=encoding, mode="w")
    if store.exists():
        shutil.rmtree(store)
    unfinished.rename(store)
