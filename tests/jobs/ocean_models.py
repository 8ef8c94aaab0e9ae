"""Ocean models on native grids in two Regions, with their areas and weights: a project's files.

Belongs here: the topology, analyses and data. Does not belong here: pools, tests.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from tests.climate.test_curvilinear import native, ocean, rectangular, weights_of

EAST, WEST = "us-east-1", "us-west-2"
REGIONS = """
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    pool: {instance_type: m5d.large, max_workers: 1}
    datasets: [{name: cmip6, layout: cmip6-pds, mount: cmip6}]
  - region: us-west-2
    cidr: 10.2.0.0/16
    pool: {instance_type: m5d.large, max_workers: 1}
    datasets:
      - {name: cmip6, layout: cmip6-pds, mount: cmip6}
      - {name: weights, layout: generic, mount: weights, pattern: "{grids}.nc", variable: weights}
"""
ANALYSES = '''
import numpy as np
import xarray as xr

from xdask_pipelines import climate
from xdask_pipelines.assets import Source, analysis


def tos(model):
    return {"tos": Source("cmip6", {"variable_id": "tos", "source_id": model, "experiment_id": "ssp245"})}


@analysis(sources=tos("NEAR"), units="K")
def sea_surface(tos: xr.DataArray) -> xr.DataArray:
    """Area mean of each month."""
    return climate.area_weighted_mean(tos, 0.0)


@analysis(sources=tos("NEAR"), units="K")
def mean_map(tos: xr.DataArray) -> xr.DataArray:
    """Mean over time, on the native grid."""
    return climate.time_weighted_mean(tos)


@analysis(units="K")
def mean_of_map(mean_map: xr.DataArray) -> xr.DataArray:
    """Area mean of the stored map."""
    return climate.area_weighted_mean(mean_map, 0.0)


@analysis(sources=tos("FAR"), units="K")
def far_map(tos: xr.DataArray) -> xr.DataArray:
    """Mean over time on a large grid whose areas are in another Region."""
    return climate.time_weighted_mean(tos)


@analysis(sources=tos("TWO"), units="K")
def doubtful(tos: xr.DataArray) -> xr.DataArray:
    """Area mean where two entries have areas."""
    return climate.area_weighted_mean(tos, 0.0)


@analysis(sources={**tos("WEIGHED"), "weights": Source("weights", {"grids": "weighed_scrip"})}, units="K")
def regridded(tos: xr.DataArray, weights: xr.Dataset) -> xr.DataArray:
    """An ocean field on a regular grid, by weights from the catalog."""
    lat, lon = np.arange(-80.0, 90, 20), np.arange(10.0, 360, 60)
    return climate.regrid_by_weights(climate.time_weighted_mean(tos), weights, lat, lon, 0.3)


@analysis(sources={"runs": Source("cmip6", {"variable_id": "tos", "source_id": "SAME"}, each=("experiment_id",))}, units="K")
def change(runs: dict) -> xr.DataArray:
    """Plain arithmetic of two runs on one native grid, each with areas."""
    return (runs["ssp245"].mean("time") - runs["historical"].mean("time")).assign_attrs(units="K")
'''


def field(rows: int = 20, columns: int = 30, steps: int = 3, seed: int = 0) -> xr.Dataset:
    """Months of a masked ocean field on a curvilinear grid, and areas of its cells."""
    base = ocean(rows, columns)
    rng = np.random.default_rng([rows, columns, seed])
    months = np.array([15.5, 45.0, 74.5])[:steps]
    edges = np.array([0.0, 31, 59, 90])[: steps + 1]
    attrs = {"units": "days since 2015-01-01", "calendar": "noleap", "standard_name": "time", "bounds": "time_bnds"}
    values = base.tos.values + rng.normal(0, 1, (steps, rows, columns))
    named = {"units": "K", "cell_measures": "area: areacello", "coordinates": "lat lon", "cell_methods": "time: mean"}
    made = xr.Dataset({"tos": (("time", "j", "i"), values, named)}, {"time": ("time", months, attrs)})
    made["time_bnds"] = (("time", "bnds"), np.stack([edges[:-1], edges[1:]], 1))
    for name in ("lat", "lon"):
        made[name] = (("j", "i"), base[name].values, {k: v for k, v in base[name].attrs.items() if k != "bounds"})
    area = np.cos(np.deg2rad(np.linspace(-88, 88, rows)))[:, None] * rng.uniform(0.5, 1.5, (rows, columns)) * 1e10
    made["areacello"] = (("j", "i"), area, {"units": "m2", "standard_name": "cell_area", "coordinates": "lat lon"})
    return made


def put(data: Path, region: str, model: str, made: xr.Dataset, **named: str) -> None:
    """Write one variable as a store in the layout of cmip6-pds."""
    said = {"experiment": "ssp245", "member": "r1i1p1f1", "grid": "gn", **named}
    (name,) = (n for n in made.data_vars if n in ("tos", "uo", "areacello"))
    table = "Ofx" if name == "areacello" else "Omon"
    activity = {"ssp245": "ScenarioMIP"}.get(said["experiment"], "CMIP")
    parts = (activity, "IPSL", model, said["experiment"], said["member"], table, name, said["grid"], "v20200101")
    path = data / region / "cmip6" / "/".join(parts)
    made.drop_encoding().to_zarr(path, zarr_format=2, consolidated=True)


def split(made: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    return made.drop_vars("areacello"), made[["areacello", "lat", "lon"]]


LAT, LON = np.arange(-80.0, 90, 20), np.arange(10.0, 360, 60)


def weighed() -> xr.Dataset:
    """A field of rows and columns as if its grid were curvilinear, for which `regrid` has the same result."""
    tos = native(rectangular()).rename("tos").isel(time=[0, 1])
    for name, units, standard_name in (("lat", "degrees_north", "latitude"), ("lon", "degrees_east", "longitude")):
        tos[name].attrs.update(units=units, standard_name=standard_name)
    attrs = {"units": "days since 2015-01-01", "calendar": "noleap", "standard_name": "time", "bounds": "time_bnds"}
    made = tos.to_dataset().assign_coords(time=("time", [15.5, 45.0], attrs))
    return made.assign(time_bnds=(("time", "bnds"), [[0.0, 31], [31, 59]]))


def scaled(areas: xr.Dataset, factor: float) -> xr.Dataset:
    return areas.assign(areacello=(areas.areacello * factor).assign_attrs(areas.areacello.attrs))


def models() -> dict[str, xr.Dataset]:
    return {
        "NEAR": field(332, 362),
        "FAR": field(400, 500),
        "TWO": field(seed=1),
        "SAME": field(seed=2),
        "NONE": field(seed=3),
        "SHAPE": field(seed=4),
        "MOVED": field(seed=5),
        "PARENT": field(seed=6),
        "GUESSED": field(seed=7),
        "CELLS": field(seed=8),
    }


def write_oceans(folder: Path, made: dict[str, xr.Dataset]) -> None:
    """Write a project with these models."""
    (folder / "regions.yaml").write_text(REGIONS)
    (folder / "analyses").mkdir()
    (folder / "analyses" / "oceans.py").write_text(ANALYSES)
    data = folder / "data"
    tos, areas = ({name: split(each)[k] for name, each in made.items()} for k in (0, 1))
    for name in ("NEAR", "TWO", "NONE", "SHAPE", "MOVED"):
        put(data, WEST, name, tos[name])
    put(data, WEST, "NEAR", areas["NEAR"])
    put(data, WEST, "NEAR", scaled(areas["NEAR"], 2), experiment="historical")  # the run's own are preferred
    put(data, WEST, "NEAR", areas["NEAR"].isel(j=slice(9)), grid="gr")
    put(data, WEST, "FAR", tos["FAR"])
    put(data, EAST, "FAR", areas["FAR"], experiment="piControl", member="r9i1p1f1")
    put(data, WEST, "TWO", areas["TWO"], experiment="piControl", member="r8i1p1f1")
    put(data, WEST, "TWO", scaled(areas["TWO"], 1.001), experiment="historical", member="r9i1p1f1")
    for experiment, region in (("ssp245", WEST), ("historical", EAST)):  # the same values in stores that differ
        put(data, region, "SAME", tos["SAME"], experiment=experiment)
        said = areas["SAME"].assign_attrs(tracking_id=experiment)
        put(
            data,
            region,
            "SAME",
            said,
            experiment={"ssp245": "piControl"}.get(experiment, experiment),
            member="r7i1p1f1",
        )
    put(data, WEST, "SHAPE", areas["SHAPE"].isel(j=slice(5, None)))
    put(data, WEST, "MOVED", areas["MOVED"].assign_coords(lat=areas["MOVED"].lat + 1))
    parent = {"parent_experiment_id": "historical", "parent_variant_label": "r5i1p1f1"}
    put(data, WEST, "PARENT", tos["PARENT"].assign_attrs(parent))
    put(data, WEST, "PARENT", areas["PARENT"], experiment="historical", member="r5i1p1f1")
    put(data, WEST, "PARENT", scaled(areas["PARENT"], 3), experiment="piControl", member="r6i1p1f1")
    bare = tos["GUESSED"].copy(deep=True)
    del bare.tos.attrs["cell_measures"]
    put(data, WEST, "GUESSED", bare)
    put(data, WEST, "GUESSED", bare.rename(tos="uo").assign_coords(lon=bare.lon + 0.5))
    put(data, WEST, "GUESSED", areas["GUESSED"])
    for part in (tos["CELLS"], areas["CELLS"]):
        put(data, WEST, "CELLS", part.stack(cell=("j", "i"), create_index=False))
    rows = xr.Dataset({"tos": tos["NONE"].tos.fillna(280.0).rename(j="lat", i="lon")})
    lat = ("lat", np.linspace(-85.5, 85.5, 20), {"standard_name": "latitude", "units": "degrees_north"})
    lon = ("lon", np.arange(6.0, 360, 12), {"standard_name": "longitude", "units": "degrees_east"})
    put(data, EAST, "RECTANGULAR", rows.assign_coords(lat=lat, lon=lon, time_bnds=tos["NONE"].time_bnds))
    put(data, WEST, "WEIGHED", weighed())
    (data / WEST / "weights").mkdir()
    for convention in ("scrip", "esmf"):
        weights = weights_of(rectangular()[0], LAT, LON, convention)
        weights.to_netcdf(data / WEST / "weights" / f"weighed_{convention}.nc")
