"""Cubes, GRIB files and paths of one's own pattern, from the folder through a real sync to values."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tests.jobs.lab import Project
from tests.support.grib_files import decoded
from xdask_pipelines.access import open_entries
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.errors import MissingEntries

WEST = "us-west-2"


@pytest.fixture
def catalog(project: Project) -> Catalog:
    return open_catalog(project.topology.catalog_url)


def test_a_variable_of_a_cube_is_read_at_home(project: Project, catalog: Catalog) -> None:
    entries = catalog.resolve(dataset="cubes", store="deep/surface.zarr", times=["2011-02-01T06"])
    (got,), evidence = project.pools.compute(open_entries(entries, ["d2m"]).d2m)
    with xr.open_zarr(
        project.data(WEST) / "cubes/deep/surface.zarr", decode_times=False, consolidated=False
    ) as expected:
        np.testing.assert_array_equal(got, expected.d2m)
    assert set(evidence.bytes_read_by_region) == {WEST}
    assert evidence.misplaced_tasks == 0


def test_a_grib_file_is_read_at_home(project: Project, catalog: Catalog) -> None:
    entries = catalog.resolve(dataset="messages", file="a.grib2", times=["2007-03-23T00"])
    (got,), evidence = project.pools.compute(open_entries(entries).t)
    path = project.data(WEST) / "messages/a.grib2"
    np.testing.assert_array_equal(got, np.stack(list(decoded(path).values())))
    assert evidence.bytes_read_by_region == {WEST: path.stat().st_size}


def test_files_of_a_pattern_are_found_by_its_names_and_excluded_ones_are_not(
    project: Project, catalog: Catalog
) -> None:
    (entry,) = catalog.resolve(dataset="own", model="ukesm", variable="tas", times=["2011-02"])
    assert entry.facets == {"model": "ukesm", "variable": "tas", "year": "2011", "month": "02"}
    (got,), _ = project.pools.compute(open_entries([entry]).tas.sum())
    assert float(got) == sum(range(4 * 6 * 8))
    with pytest.raises(MissingEntries, match="available values of model are ukesm"):
        catalog.resolve(dataset="own", model="retracted")
