"""Regridding agrees with dense arithmetic written apart, conserves, and is lazy and small."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from xdask_pipelines.climate import area_weighted_mean, regrid
from xdask_pipelines.errors import ClimateError

METHODS = ("conservative", "bilinear")
UM = np.linspace(-90, 90, 145), 1.875 * np.arange(192)
UKESM = -89.375 + 1.25 * np.arange(144), 0.9375 + 1.875 * np.arange(192)
ONE_DEGREE = np.linspace(90, -90, 181), np.arange(360.0)
COARSE = np.linspace(-80, 80, 9), np.linspace(-170, 170, 18)


def made(lat: Any, lon: Any, seed: int = 0, lead: tuple[int, ...] = ()) -> xr.DataArray:
    values = 280 + 20 * np.random.default_rng(seed).standard_normal((*lead, len(lat), len(lon)))
    dims = (*(f"n{i}" for i in range(len(lead))), "lat", "lon")
    return xr.DataArray(values, dims=dims, coords={"lat": lat, "lon": lon}, name="tas", attrs={"units": "K"})


def edges(centres: np.ndarray, cyclic: bool) -> np.ndarray:
    """Ascending edges at midpoints, written apart from the package."""
    c = np.sort(np.asarray(centres, float))
    ends = [c[0] - (c[1] - c[0]) / 2, c[-1] + (c[-1] - c[-2]) / 2]
    both = np.concatenate([ends[:1], (c[:-1] + c[1:]) / 2, ends[1:]])
    return both if cyclic else np.clip(both, -90, 90)


def dense_conservative(field: xr.DataArray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Sum over all overlaps of all pairs of cells, one pair of rows and one of columns at a time."""

    def overlaps(source: np.ndarray, target: np.ndarray, cyclic: bool) -> np.ndarray:
        s, t = edges(source, cyclic), edges(target, cyclic)
        measure = (lambda x: x) if cyclic else (lambda x: np.sin(np.radians(x)))
        out = np.zeros((len(target), len(source)))
        for i in range(len(target)):
            for j in range(len(source)):
                for turn in (-720, -360, 0, 360, 720) if cyclic else (0,):
                    low, high = max(t[i], s[j] + turn), min(t[i + 1], s[j + 1] + turn)
                    if high > low:
                        out[i, j] += measure(high) - measure(low)
        out /= out.sum(axis=1, keepdims=True)
        out = out if target[0] < target[-1] else out[::-1]
        return out if source[0] < source[-1] else out[:, ::-1]

    rows = overlaps(field.lat.values, lat, cyclic=False)
    columns = overlaps(field.lon.values, lon, cyclic=True)
    return np.einsum("ij,jk,lk->il", rows, field.values.astype(float), columns, optimize=True)


def dense_bilinear(field: xr.DataArray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """SciPy's interpolator on a field with pole rows and three turns of longitude."""
    f = field.sortby(["lat", "lon"])
    values, y, x = f.values.astype(float), f.lat.values.astype(float), f.lon.values.astype(float)
    if y[0] > -90:
        values, y = np.vstack([np.full_like(values[:1], values[0].mean()), values]), np.append(-90, y)
    if y[-1] < 90:
        values, y = np.vstack([values, np.full_like(values[:1], values[-1].mean())]), np.append(y, 90)
    around = RegularGridInterpolator((y, np.concatenate([x - 360, x, x + 360])), np.hstack([values] * 3))
    points = np.stack(np.meshgrid(lat, lon % 360 if x[0] >= 0 else lon, indexing="ij"), axis=-1)
    return np.asarray(around(points))


@pytest.mark.parametrize("source", [ONE_DEGREE, UKESM, COARSE], ids=["one degree", "ukesm", "coarse"])
@pytest.mark.parametrize("target", [UM, COARSE, (UKESM[0][::-1], UKESM[1] - 180)], ids=["um", "coarse", "turned"])
def test_both_methods_agree_with_dense_arithmetic(source: Any, target: Any) -> None:
    field = made(*source)
    for method, dense in (("conservative", dense_conservative), ("bilinear", dense_bilinear)):
        result = regrid(field, *target, method)
        assert result.dtype == np.float64
        assert np.abs(result.values - dense(field, *target)).max() < 1e-9


@pytest.mark.parametrize("target", [UM, UKESM, COARSE, (np.linspace(90, -90, 721), 0.25 * np.arange(1440))])
def test_conservative_keeps_the_area_mean(target: Any) -> None:
    field = made(*ONE_DEGREE)
    before, after = area_weighted_mean(field), area_weighted_mean(regrid(field, *target))
    assert float(after) == pytest.approx(float(before), rel=1e-12)


def test_there_is_no_seam_and_no_hole_at_the_poles() -> None:
    lat, lon = np.linspace(90, -90, 361), np.arange(0, 360, 0.5)
    smooth = made(*UKESM)
    smooth[:] = 280 + 10 * np.cos(np.deg2rad(smooth.lon)) * np.cos(np.deg2rad(smooth.lat))
    for method in METHODS:
        fine = regrid(smooth, lat, lon, method)  # type: ignore[arg-type]
        assert np.isfinite(fine).all()
        inner = np.abs(np.diff(fine.values, axis=1)).max()
        assert np.abs(fine.values[:, 0] - fine.values[:, -1]).max() <= inner * 1.0001
    assert np.allclose(fine.values[[0, -1]], 280, atol=1e-9)  # bilinear: the zonal mean


@pytest.mark.parametrize("method", METHODS)
def test_orientation_of_the_source_does_not_matter(method: Any) -> None:
    field = made(*ONE_DEGREE)
    west = field.assign_coords(lon=(field.lon + 180) % 360 - 180).sortby("lon")
    for turned in (field[::-1], west, west[::-1], field[:, ::-1], field.transpose("lon", "lat")):
        result = regrid(turned, *UM, method).transpose("lat", "lon")
        assert np.abs(result - regrid(field, *UM, method)).max() < 1e-10


def test_other_dimensions_and_their_order_are_kept() -> None:
    field = made(*COARSE, lead=(2, 3)).transpose("lon", "n0", "lat", "n1").assign_coords(n0=[5, 7], height=2.0)
    result = regrid(field, *UM)
    assert result.dims == field.dims
    assert result.shape == (192, 2, 145, 3)
    assert result.n0.values.tolist() == [5, 7]
    assert float(result.height) == 2.0
    one = regrid(field.isel(n0=1, n1=2).transpose("lat", "lon"), *UM)
    assert np.allclose(result.isel(n0=1, n1=2).transpose("lat", "lon"), one, rtol=1e-14)


def test_result_says_what_was_done_and_carries_cf_coordinates() -> None:
    result = regrid(made(*ONE_DEGREE).assign_attrs(cell_methods="time: mean"), *UM)
    assert result.name == "tas"
    assert result.attrs["units"] == "K"
    assert result.attrs["cell_methods"] == "time: mean area: mean"
    assert "conservative" in result.attrs["regridding"]
    assert result.lat.attrs["standard_name"] == "latitude"
    assert result.lon.attrs["units"] == "degrees_east"
    assert np.array_equal(result.lat, UM[0])


def test_target_bounds_are_used_and_travel_on() -> None:
    lat, edge = np.array([-60.0, 10.0, 60.0]), np.array([-90.0, -20.0, 40.0, 90.0])
    axis = xr.DataArray(lat, dims="lat", name="lat", coords={"lat": lat}).assign_coords(
        lat_lower=("lat", edge[:-1]), lat_upper=("lat", edge[1:])
    )
    field = made(*ONE_DEGREE)
    result = regrid(field, axis, UM[1])
    assert result.lat_upper.values.tolist() == edge[1:].tolist()
    assert float(area_weighted_mean(result)) == pytest.approx(float(area_weighted_mean(field)), rel=1e-12)


def test_a_field_on_the_grid_already_is_untouched() -> None:
    field = made(*UM).astype("f4").chunk()
    for method in METHODS:
        same = regrid(field, field.lat.astype("f4"), UM[1], method)  # type: ignore[arg-type]
        assert same.data is field.data
        assert same.attrs["regridding"].startswith("none")


def test_nan_spreads_to_what_depends_on_it_and_no_further() -> None:
    field = made(*ONE_DEGREE)
    field.loc[{"lat": 10.0, "lon": 0.0}] = np.nan
    for method, dense in (("conservative", dense_conservative), ("bilinear", dense_bilinear)):
        result = regrid(field, *UM, method)
        marked = xr.where(np.isnan(field), 1.0, 0.0)
        assert np.array_equal(np.isnan(result), dense(marked, *UM) > 1e-12)
        exact = regrid(field, ONE_DEGREE[0][::-1], ONE_DEGREE[1], method)  # weights of 0 spread nothing
        assert int(np.isnan(exact).sum()) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_field_of_another_region_is_refused(method: Any) -> None:
    field = made(np.linspace(20, 60, 21), np.arange(30.0))
    with pytest.raises(ClimateError, match=r"the grid 21 x 30 .* has no part in the target grid"):
        regrid(field, np.arange(-60.0, -20, 5), np.arange(100.0, 150, 5), method)


def test_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ClimateError, match=r"'nearest'; use one of \['bilinear', 'conservative'\]"):
        regrid(made(*UM), *UKESM, "nearest")  # type: ignore[arg-type]


def test_lazy_regridding_reads_nothing_and_is_one_task_a_chunk() -> None:
    def never(block_id: Any = None) -> np.ndarray:
        raise AssertionError("computed")

    blocks = da.map_blocks(never, chunks=((12, 12), (181,), (360,)), dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    coords = {"lat": ONE_DEGREE[0], "lon": ONE_DEGREE[1]}
    field = xr.DataArray(blocks, dims=("time", "lat", "lon"), coords=coords)
    result = regrid(field, *UM)
    assert result.shape == (24, 145, 192)
    assert result.chunks == ((12, 12), (145,), (192,))
    assert len(result.data.dask) - len(field.data.dask) == 2


@pytest.mark.parametrize("method", METHODS)
def test_lazy_equals_eager_even_from_chunks_that_split_the_field(method: Any) -> None:
    field = made(*ONE_DEGREE, lead=(3,))
    lazy = regrid(field.chunk(n0=2, lat=100, lon=100), *UM, method)
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), regrid(field, *UM, method))


def test_what_travels_in_the_graph_is_coordinates_not_matrices() -> None:
    lat, lon = np.linspace(90, -90, 721), 0.25 * np.arange(1440)
    field = xr.DataArray(da.zeros((721, 1440), chunks=-1), dims=("lat", "lon"), coords={"lat": lat, "lon": lon})
    fine = regrid(field, np.linspace(90, -90, 1801), 0.1 * np.arange(3600))
    coordinates = 8 * (721 + 1440 + 1801 + 3600)
    assert len(pickle.dumps(fine.data.dask)) < coordinates + 10_000


def test_the_same_work_has_the_same_name_and_other_work_another() -> None:
    field = made(*ONE_DEGREE).chunk()
    again = field.copy()
    assert regrid(field, *UM).data.name == regrid(again, *UM).data.name
    assert regrid(field, *UM).data.name != regrid(field, *UKESM).data.name
    assert regrid(field, *UM).data.name != regrid(field, *UM, "bilinear").data.name


sizes = st.tuples(st.integers(2, 12), st.integers(3, 16))


@st.composite
def grids(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = draw(sizes)
    with_poles, north_first = draw(st.booleans()), draw(st.booleans())
    first = 90.0 if with_poles else 90.0 - 90.0 / rows
    lat = np.linspace(-first, first, rows)
    lon = draw(st.floats(-180, 180)) + 360.0 * np.arange(columns) / columns
    return (lat[::-1] if north_first else lat), lon


@settings(max_examples=60, deadline=None)
@given(grids(), grids(), st.sampled_from(METHODS), st.integers(0, 5))
def test_any_two_grids_linear_constant_and_conserving(source: Any, target: Any, method: Any, seed: int) -> None:
    a, b = made(*source, seed=seed), made(*source, seed=seed + 1)
    both = regrid(2 * a - 3 * b, *target, method)
    assert np.allclose(both, 2 * regrid(a, *target, method) - 3 * regrid(b, *target, method), rtol=0, atol=1e-9)
    constant = regrid(a * 0 + 273.15, *target, method)
    assert np.allclose(constant, 273.15, rtol=1e-13)
    if method == "conservative":
        assert float(area_weighted_mean(regrid(a, *target))) == pytest.approx(float(area_weighted_mean(a)), rel=1e-12)
    else:
        result = regrid(a, *target, method)
        assert a.min() - 1e-9 <= result.min() <= result.max() <= a.max() + 1e-9


def test_a_field_whose_axes_differ_by_rounding_keeps_its_values_and_takes_the_targets_axes() -> None:
    lat, lon = ONE_DEGREE
    field = made(lat * (1 + 1e-9), lon.astype("f4") + np.float32(1e-5))
    out = regrid(field, lat, lon)
    assert np.array_equal(out, field.values)
    assert np.array_equal(out.lat, lat)
    assert np.array_equal(out.lon, lon)
    assert out.sizes == (out - made(lat, lon, seed=1)).sizes


def test_a_dataset_is_refused_with_its_variables() -> None:
    dataset = xr.Dataset({"tas": made(*COARSE), "pr": made(*COARSE)})
    with pytest.raises(ClimateError, match=r"regrid takes one variable: pass dataset\['tas'\]; .* has tas, pr"):
        regrid(dataset, *COARSE)  # type: ignore[arg-type]
