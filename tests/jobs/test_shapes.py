"""Results that are no map: stored, checked and drawn as what they are, by the same two commands."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from tests.jobs.lab import Project
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.operations.planning import plan_asset
from xdask_pipelines.operations.project import run_assets
from xdask_pipelines.resources.results import Results

SHAPES = '''
import xarray as xr

from xdask_pipelines.assets import Source, analysis
from xdask_pipelines.climate import area_weighted_mean

OWN = {"tas": Source("own", {"model": "ukesm", "variable": "tas"})}


@analysis(sources=OWN, units="K")
def own_cells(tas: xr.DataArray) -> xr.DataArray:
    """Time by longitude."""
    return tas.mean("lat", keep_attrs=True)


@analysis(sources=OWN, units="K")
def own_series(tas: xr.DataArray) -> xr.DataArray:
    """Area-weighted mean of each time."""
    return area_weighted_mean(tas)


@analysis(sources=OWN, units="K")
def own_number(tas: xr.DataArray) -> xr.DataArray:
    """Mean of all values."""
    return tas.mean(keep_attrs=True)


@analysis(sources=OWN, units="K")
def own_steps(tas: xr.DataArray) -> xr.DataArray:
    """A region at all times."""
    return tas.isel(lon=slice(0, 6))


@analysis(sources=OWN, units="K")
def own_pair(tas: xr.DataArray) -> xr.Dataset:
    """Two variables."""
    tas = tas.isel(lon=slice(0, 6))
    return xr.Dataset({"first": tas.isel(time=0, drop=True), "last": tas.isel(time=-1, drop=True)})


@analysis(sources=OWN, units="K", valid_range=(0.0, 1000.0))
def own_native(tas: xr.DataArray) -> xr.DataArray:
    """A field whose latitudes and longitudes are 2-D, with land."""
    field = tas.isel(time=0, drop=True)
    places = xr.broadcast(field.lat.drop_vars("lat"), field.lon.drop_vars("lon"))
    named = zip(("latitude", "longitude"), places)
    native = field.drop_vars(["lat", "lon"]).rename(lat="j", lon="i")
    coords = {n: (("j", "i"), p.values, {"standard_name": n}) for n, p in named}
    rows = xr.DataArray(range(native.sizes["j"]), dims="j")
    return native.assign_coords(coords).where(rows > 1)


@analysis(units="K")
def own_doubled(own_number: xr.DataArray) -> xr.DataArray:
    """Made from a result that is one number."""
    return (own_number * 2).assign_attrs(units="K")
'''
NAMES = ["own_cells", "own_series", "own_number", "own_steps", "own_pair", "own_native", "own_doubled"]
VALUES = np.arange(4 * 6 * 8.0).reshape(4, 6, 8)


@pytest.fixture(scope="module")
def made(project: Project) -> Iterator[dict]:
    from xdask_pipelines.operations.project import instance

    file = project.topology.root / "analyses" / "shapes.py"
    file.write_text(SHAPES)
    try:
        for name in NAMES[:-1]:
            assert plan_asset(project.topology, name).tasks_by_region
        with instance(project.topology) as history:
            done = run_assets(project.topology, project.pools, history, NAMES)
        yield {"metadata": done.metadata, "warnings": done.warnings}
    finally:
        file.unlink()


def stored(project: Project, name: str):
    results = Results(project.topology, open_catalog(project.topology.catalog_url), project.pools)
    (found,), _ = project.pools.compute(results.open(results.find(name)))
    return found


def size(picture: str) -> tuple[int, int]:
    match = re.search(r"base64,([^)]*)", picture)
    assert match is not None
    return Image.open(io.BytesIO(base64.b64decode(match[1]))).size


def test_planes_lines_and_native_grids_have_a_picture(made: dict) -> None:
    for name, key in (("own_cells", "plot"), ("own_series", "plot"), ("own_native", "map")):
        assert size(made["metadata"][name][key]) == (1200, 740)
        assert "area_weighted_mean" not in made["metadata"][name]


def test_a_number_is_in_the_metadata(made: dict) -> None:
    assert made["metadata"]["own_number"]["value"] == VALUES.mean()
    assert made["metadata"]["own_number"]["units"] == "K"
    assert made["metadata"]["own_doubled"]["value"] == 2 * VALUES.mean()


def test_what_has_no_picture_says_so(made: dict) -> None:
    assert "dimensions time, lat, lon" in made["metadata"]["own_steps"]["picture"]
    assert "2 variables (first, last)" in made["metadata"]["own_pair"]["picture"]


def test_a_picture_does_not_move_the_result(made: dict) -> None:
    for name in NAMES[:-1]:
        assert sum(made["metadata"][name]["evidence"]["bytes_across"].values()) < 12_000
        assert made["metadata"][name]["store"].startswith("us-west-2:")


def test_values_are_stored_as_they_were_returned(made: dict, project: Project) -> None:
    assert np.array_equal(stored(project, "own_steps"), VALUES[..., :6])
    assert np.array_equal(stored(project, "own_cells"), VALUES.mean(axis=1))
    pair = stored(project, "own_pair")
    assert np.array_equal(pair["last"], VALUES[-1, :, :6])
    native = stored(project, "own_native")
    assert native.dims == ("j", "i")
    assert native.latitude.shape == (6, 8)


def test_land_of_a_native_grid_is_reported_and_checks_name_each_variable(made: dict, project: Project) -> None:
    assert "own_native: 16 of 48 cells have no value." in made["warnings"]
    from xdask_pipelines.operations.project import instance

    with instance(project.topology) as history:
        key = dg.AssetCheckKey(dg.AssetKey("own_pair"), "value_range")
        latest = history.event_log_storage.get_latest_asset_check_execution_by_key([key])
        event = latest[key].event
        assert event is not None
        figures = event.asset_check_evaluation.metadata["statistics"].value
        assert figures[""]["last.maximum"] == VALUES[..., :6].max()
