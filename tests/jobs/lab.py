"""A project of its own for tests of the main job: what a clone has, two more datasets, analyses of a user's own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from tests.support.grib_files import message, write_grib
from xdask_pipelines.resources.pools.standing_pools import Pools
from xdask_pipelines.topology import Topology

REPO = Path(__file__).parents[2]
HOURLY = """
      - {name: hourly, layout: era5-pds, mount: hourly}
      - {name: faulty, layout: era5-pds, mount: faulty}
      - {name: mixed, layout: era5-pds, mount: mixed}
      - {name: copied, layout: era5-pds, mount: copied, excerpt: true}
"""
MODELS = """
      - {name: models, layout: cmip6-pds, mount: models}
      - {name: copied, layout: era5-pds, mount: another/place, excerpt: true}
      - {name: cubes, layout: arco-zarr, mount: cubes}
      - {name: messages, layout: grib, mount: messages}
      - name: own
        layout: generic
        mount: own
        excerpt: true
        pattern: "{model}/{variable}_{year}{month}.nc"
        exclude: [retracted]
"""
ANALYSES = '''
import dagster as dg
import xarray as xr

from xdask_pipelines import climate
from xdask_pipelines.assets import Source, analysis

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2011-01", end_date="2011-08", fmt="%Y-%m", timezone="UTC")


COMMON = dict(partitions_def=MONTHS, preview=climate.mean_of_partials, units="K", valid_range=(150.0, 350.0))
TEMPERATURE = {"variable": "air_temperature_at_2_metres"}


@analysis(sources={"hourly": Source("hourly", TEMPERATURE)}, **COMMON)
def hourly_mean(hourly: xr.DataArray) -> xr.Dataset:
    """Sum and count of one month."""
    return climate.month_partial(hourly)


LATE = dg.MonthlyPartitionsDefinition(start_date="2011-03", end_date="2011-05", fmt="%Y-%m", timezone="UTC")


@analysis(sources={"hourly": Source("hourly", TEMPERATURE)}, **{**COMMON, "partitions_def": LATE})
def hourly_late(hourly: xr.DataArray) -> xr.Dataset:
    """Fewer months than there are."""
    return climate.month_partial(hourly)


@analysis(sources={"hourly": Source("faulty", TEMPERATURE)}, **COMMON)
def faulty_mean(hourly: xr.DataArray) -> xr.Dataset:
    """Sum and count of one month that has something wrong."""
    return climate.month_partial(hourly)


@analysis(sources={"hourly": Source("mixed", TEMPERATURE)}, **COMMON)
def mixed_mean(hourly: xr.DataArray) -> xr.Dataset:
    """Sum and count of one month, of which some have something wrong."""
    return climate.month_partial(hourly)


@analysis(units="K")
def hourly_long_mean(hourly_mean: xr.Dataset) -> xr.DataArray:
    """Mean of all months."""
    return climate.mean_of_partials(hourly_mean)


@analysis(units="K")
def hourly_series(hourly_mean: xr.Dataset) -> xr.DataArray:
    """Months as steps of time."""
    return climate.monthly_means(hourly_mean)


@analysis(sources={"hourly": Source("hourly", TEMPERATURE)}, partitions_def=MONTHS, preview=lambda x: x[0], units="K")
def hourly_days(hourly: xr.DataArray) -> xr.DataArray:
    """Mean of each day of one month."""
    return hourly.coarsen(time0=24, coord_func="min").mean().assign_attrs(units="K")


@analysis(partitions_def=MONTHS, units="K")
def hourly_warmest_day(hourly_days: xr.DataArray) -> xr.DataArray:
    """Warmest day of one month."""
    return hourly_days.max("time0", keep_attrs=True)


@analysis(units="K")
def hourly_warmest(hourly_days: xr.DataArray, hourly_warmest_day: xr.DataArray) -> xr.Dataset:
    """Warmest day of all months, from days and from months."""
    both = {"days": hourly_days.max("time0"), "months": hourly_warmest_day.max("time")}
    return xr.Dataset({name: each.assign_attrs(units="K") for name, each in both.items()})


MODEL = {"member_id": "r3i1p1f2", "variable_id": "tas"}


@analysis(sources={"copied": Source("copied", TEMPERATURE), "models": Source("models", MODEL)}, units="K")
def copied_beside_models(copied: xr.DataArray, models: xr.DataArray) -> xr.DataArray:
    """Reads a dataset that two Regions hold, and one that only us-west-2 holds."""
    return (copied.mean("time0") - models.mean()).assign_attrs(units="K")


JANUARY = Source("hourly", {**TEMPERATURE, "month": "01"})


@analysis(sources={"copied": Source("copied", TEMPERATURE), "hourly": JANUARY}, units="K")
def copied_beside_hourly(copied: xr.DataArray, hourly: xr.DataArray) -> xr.DataArray:
    """Reads the same beside one that only us-east-1 holds."""
    return (copied.mean("time0") - hourly.mean("time0")).assign_attrs(units="K")


@analysis(sources={"era5": Source("era5", TEMPERATURE)}, units="K")
def hourly_broken(era5: xr.DataArray) -> xr.DataArray:
    """Fails when it is called."""
    raise ValueError("no such thing")
'''


@dataclass(frozen=True)
class Project:
    """A project whose pools are up."""

    topology: Topology
    pools: Pools

    def data(self, region: str) -> Path:
        return self.topology.data_folder(region)


def write_own_layouts(data: Path) -> None:
    """A cube of two variables, a GRIB file, and files named as a pattern says, one of them in a folder to exclude."""
    times = ("time", [0, 6, 12, 18], {"units": "hours since 2011-02-01", "standard_name": "time"})
    field = xr.DataArray(np.arange(4 * 6 * 8.0).reshape(4, 6, 8), dims=("time", "lat", "lon"), attrs={"units": "K"})
    axes = {"time": times, "lat": np.linspace(75, -75, 6), "lon": np.arange(0, 360, 45.0)}
    xr.Dataset({"t2m": field, "d2m": field - 5}, axes).to_zarr(
        data / "cubes" / "deep" / "surface.zarr", zarr_format=3, consolidated=False
    )
    write_grib(data / "messages" / "a.grib2", *(message(dataTime=hour) for hour in (0, 600)))
    for place in ("ukesm", "retracted"):
        (data / "own" / place).mkdir(parents=True)
        xr.Dataset({"tas": field}, axes).to_netcdf(data / "own" / place / "tas_201102.nc")


def project_folder(folder: Path) -> Path:
    """A copy of what a clone has, with two more datasets."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(REPO / "data", folder / "data", dirs_exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(REPO / name, folder)
    text = (REPO / "regions.yaml").read_text()
    head, tail = text.split("  - region: us-west-2")
    (folder / "regions.yaml").write_text(head.rstrip() + HOURLY + "\n  - region: us-west-2" + tail.rstrip() + MODELS)
    return folder
