"""Results on large native grids keep the places of their cells, which lie in the pool as the data do."""

from __future__ import annotations

import numpy as np
import xarray as xr

from tests.support.access_helpers import Entry, described
from tests.support.netcdf_files import times, written
from tests.support.places import EAST, Cluster
from xdask_pipelines.access import open_entries, written_lazily
from xdask_pipelines.access.coordinates import MAX_COORDINATE_BYTES
from xdask_pipelines.climate import dequantise, quantise, time_weighted_mean
from xdask_pipelines.placement import compute


def test_a_result_on_a_large_native_grid_is_stored_with_its_places_and_has_a_picture(cluster: Cluster) -> None:
    ny, nx = 400, 500
    lat, lon = np.meshgrid(np.linspace(-75, 85, ny), np.linspace(0, 359, nx), indexing="ij")
    assert lat.nbytes > MAX_COORDINATE_BYTES
    attrs = (
        {"standard_name": "latitude", "units": "degrees_north"},
        {"standard_name": "longitude", "units": "degrees_east"},
    )
    coords = {
        "time": times([15.5, 45], "days since 2001-01-01", "noleap"),
        "nav_lat": (("y", "x"), lat, attrs[0]),
        "nav_lon": (("y", "x"), lon, attrs[1]),
    }
    made = xr.Dataset({"tos": (("time", "y", "x"), np.stack([lat, lat + 2]), {"units": "K"})}, coords)
    written(cluster.data[EAST] / "native.zarr", made)
    tos = open_entries(described(cluster.client, EAST, "native.zarr", file_format="zarr2")).tos
    mean = time_weighted_mean(tos)
    (stored, small), evidence = compute(
        cluster.client, written_lazily(mean.to_dataset(), EAST, "results/native/1.zarr"), quantise(mean)
    )
    assert sum(evidence.bytes_across.values()) < 100_000
    kept = Entry(EAST, stored.key, "zarr3", stored.etag, stored.size_bytes, stored.modified_ns, stored.header)
    opened = open_entries([kept])
    assert set(opened.coords) == {"nav_lat", "nav_lon"}
    (got,), _ = compute(cluster.client, opened)
    months = np.array([31, 28]) / 59
    np.testing.assert_allclose(got.tos, lat * months[0] + (lat + 2) * months[1])
    np.testing.assert_array_equal(got.nav_lon, lon)
    picture = dequantise(small)
    assert picture.size <= 10_368
    assert picture.nav_lat.shape == picture.shape
