"""Synthetic files have the archives' layouts, exact sums, and only the fault that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.synthetic import Fault, write_cmip6_member, write_era5_month

T2M = "air_temperature_at_2_metres"
SMALL: dict[str, Any] = {"shape": (19, 36), "hours": 48, "chunks": (24, 10, 10)}


def read(path: Path, variable: str = T2M) -> np.ndarray:
    with h5py.File(path) as file:
        return np.asarray(file[variable][:])


def open_store(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, chunks=None, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True))


def test_era5_month_lies_where_the_bucket_has_it_with_every_hour(tmp_path: Path) -> None:
    path = write_era5_month(tmp_path, 2012, 2, shape=(7, 12))
    assert path == tmp_path / "2012/02/data" / f"{T2M}.nc"
    with h5py.File(path) as file:
        assert file[T2M].shape == (29 * 24, 7, 12)
        first = np.datetime64("2012-02-01", "s").astype(float)
        assert np.array_equal(file["time0"][:], first + 3600.0 * np.arange(29 * 24))
        assert [dim[0].name for dim in file[T2M].dims] == ["/time0", "/lat", "/lon"]
        assert (file["lat"][0], file["lat"][-1], file["lon"][0]) == (90, -90, 0)
        assert file[T2M].attrs["units"] == "K"


def test_sums_are_exact_because_values_are_multiples_of_a_32nd(tmp_path: Path) -> None:
    values = read(write_era5_month(tmp_path, 2011, 1, **SMALL)).astype(np.float64)
    assert np.array_equal(values * 32, np.rint(values * 32))
    assert np.array_equal(values.sum(axis=0), values[::-1].sum(axis=0))
    assert 200 < values.min() < values.max() < 330


def test_roughness_stays_in_time_is_exact_and_is_harder_to_compress(tmp_path: Path) -> None:
    smooth, rough = (write_era5_month(tmp_path / f"{r}", 2011, 1, **SMALL, roughness=r) for r in (0.0, 0.5))
    difference = read(rough) - read(smooth)
    assert np.array_equal(difference, np.broadcast_to(difference[0], difference.shape))
    assert np.array_equal(difference * 32, np.rint(difference * 32))
    assert 0.3 < difference[0, 9].std() < 0.7
    assert not difference[:, [0, -1]].any()
    assert rough.stat().st_size > smooth.stat().st_size


def test_every_longitude_of_a_pole_row_is_alike(tmp_path: Path) -> None:
    values = read(write_era5_month(tmp_path, 2011, 1, **SMALL))
    assert (np.ptp(values[:, [0, -1]], axis=2) == 0).all()


def test_weather_depends_on_the_seed_and_not_on_chunks(tmp_path: Path) -> None:
    first = read(write_era5_month(tmp_path / "a", 2011, 1, **SMALL))
    other_chunks = read(write_era5_month(tmp_path / "b", 2011, 1, **{**SMALL, "chunks": (5, 19, 36)}))
    other_seed = read(write_era5_month(tmp_path / "c", 2011, 1, **SMALL, seed=1))
    assert np.array_equal(first, other_chunks)
    assert not np.array_equal(first, other_seed)
    assert not np.array_equal(first, read(write_era5_month(tmp_path / "d", 2011, 2, **SMALL)))


@pytest.mark.parametrize("variable", ["eastward_wind_at_10_metres", "northward_wind_at_10_metres"])
def test_wind_components_blow_both_ways(tmp_path: Path, variable: str) -> None:
    values = read(write_era5_month(tmp_path, 2011, 1, variable=variable, **SMALL), variable)
    assert values.min() < -1 < 1 < values.max()


def test_missing_hour_is_gone_from_values_and_time(tmp_path: Path) -> None:
    whole = read(write_era5_month(tmp_path / "a", 2011, 1, **SMALL))
    path = write_era5_month(tmp_path / "b", 2011, 1, **SMALL, fault=Fault.MISSING_STEP)
    with h5py.File(path) as file:
        steps = np.diff(file["time0"][:])
    assert sorted(set(steps)) == [3600.0, 7200.0]
    assert np.array_equal(read(path), np.delete(whole, 24, axis=0))


def test_truncated_files_cannot_be_read(tmp_path: Path) -> None:
    path = write_era5_month(tmp_path, 2011, 1, **SMALL, fault=Fault.TRUNCATED)
    with pytest.raises(OSError, match="truncated"):
        h5py.File(path)
    store = write_cmip6_member(tmp_path, shape=(6, 8), fault=Fault.TRUNCATED)
    with pytest.raises((RuntimeError, ValueError)):
        open_store(store).tas.load()


def test_nan_faults_are_where_they_should_be(tmp_path: Path) -> None:
    with h5py.File(write_era5_month(tmp_path, 2011, 1, **SMALL, fault=Fault.NAN_COORDINATE)) as file:
        assert np.isnan(file["lat"][:]).sum() == 1
    path = write_era5_month(tmp_path, 2011, 2, **SMALL, fault=Fault.NAN_VALUE)
    assert np.isnan(read(path)).sum() == 1
    assert open_store(write_cmip6_member(tmp_path / "c", fault=Fault.NAN_COORDINATE)).lat.isnull().sum() == 1
    assert open_store(write_cmip6_member(tmp_path / "v", fault=Fault.NAN_VALUE)).tas.isnull().sum() == 1


def test_wrong_units_are_celsius_in_name_and_value(tmp_path: Path) -> None:
    path = write_era5_month(tmp_path, 2011, 1, **SMALL, fault=Fault.WRONG_UNITS)
    with h5py.File(path) as file:
        assert file[T2M].attrs["units"] == "degC"
        assert file[T2M][:].max() < 60
    tas = open_store(write_cmip6_member(tmp_path, fault=Fault.WRONG_UNITS)).tas
    assert tas.attrs["units"] == "degC"
    assert tas.max() < 60


def test_other_orientations_hold_the_same_field(tmp_path: Path) -> None:
    usual = read(write_era5_month(tmp_path / "a", 2011, 1, **SMALL))
    for fault, turned in (
        (Fault.FLIPPED_LATITUDES, usual[:, ::-1]),
        (Fault.WEST_LONGITUDES, np.roll(usual, 18, axis=2)),
    ):
        path = write_era5_month(tmp_path / fault.value, 2011, 1, **SMALL, fault=fault)
        assert np.array_equal(read(path), turned)
        with h5py.File(path) as file:
            assert (np.diff(file["lon"][:]) > 0).all()
            assert (file["lon"][0], file["lat"][0]) == ((-180, 90) if "west" in fault else (0, -90))


def test_cmip6_orientations_keep_each_cell_within_its_bounds(tmp_path: Path) -> None:
    usual = open_store(write_cmip6_member(tmp_path / "usual"))
    for fault in (Fault.FLIPPED_LATITUDES, Fault.WEST_LONGITUDES):
        turned = open_store(write_cmip6_member(tmp_path / fault.value, fault=fault))
        for name in ("lat", "lon"):
            assert np.allclose(turned[f"{name}_bnds"].mean("bnds"), turned[name])
        back = turned.assign_coords(lon=turned.lon % 360).sortby(["lat", "lon"])
        assert np.array_equal(back.tas, usual.tas)


def test_faults_that_do_not_apply_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="duplicate-version"):
        write_era5_month(tmp_path, 2011, 1, fault=Fault.DUPLICATE_VERSION)
    with pytest.raises(ValueError, match="eastward_wind"):
        write_era5_month(tmp_path, 2011, 1, variable="eastward_wind_at_10_metres", fault=Fault.WRONG_UNITS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("calendar", "days"), [("360_day", 360), ("noleap", 365), ("standard", 366)])
def test_cmip6_years_have_the_length_of_their_calendar(tmp_path: Path, calendar: Any, days: int) -> None:
    store = write_cmip6_member(tmp_path, years=range(2016, 2017), calendar=calendar, shape=(6, 8))
    dataset = open_store(store)
    lengths = [(last - first).days for first, last in dataset.time_bnds.values]
    assert sum(lengths) == days
    assert dataset.time.values[0].calendar == calendar
    assert [date.month for date in dataset.time.values] == list(range(1, 13))
    values = dataset.tas.values.astype(np.float64)
    assert np.array_equal(values * 32, np.rint(values * 32))


def test_cmip6_path_follows_the_facets_and_the_right_activity(tmp_path: Path) -> None:
    future = write_cmip6_member(tmp_path, shape=(6, 8))
    past = write_cmip6_member(tmp_path, experiment_id="historical", member_id="r2i1p1f2", shape=(6, 8))
    assert str(future.relative_to(tmp_path)) == ("ScenarioMIP/MOHC/UKESM1-0-LL/ssp245/r1i1p1f2/Amon/tas/gn/v20190507")
    assert past.relative_to(tmp_path).parts[0] == "CMIP"
    assert (future / ".zmetadata").is_file()
    assert open_store(past).attrs["member_id"] == "r2i1p1f2"
    assert not np.array_equal(open_store(past).tas, open_store(future).tas)


def test_duplicate_version_is_older_and_differs(tmp_path: Path) -> None:
    store = write_cmip6_member(tmp_path, shape=(6, 8), fault=Fault.DUPLICATE_VERSION)
    old, new = sorted(store.parent.iterdir())
    assert new == store
    assert (open_store(old).tas - open_store(new).tas == 1).all()


def test_missing_month_is_gone_from_values_time_and_bounds(tmp_path: Path) -> None:
    dataset = open_store(write_cmip6_member(tmp_path, shape=(6, 8), fault=Fault.MISSING_STEP))
    assert dataset.tas.shape == (23, 6, 8)
    assert dataset.time_bnds.shape == (23, 2)


def test_writing_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    for seed in (0, 1):
        path = write_era5_month(tmp_path, 2011, 1, **SMALL, seed=seed)
        store = write_cmip6_member(tmp_path, shape=(6, 8), seed=seed)
    assert list(path.parent.iterdir()) == [path]
    assert list(store.parent.iterdir()) == [store]


def test_members_warm_as_fast_as_asked(tmp_path: Path) -> None:
    stores = [write_cmip6_member(tmp_path / f"{each}", shape=(4, 8), warming=each) for each in (0.0, 0.5)]
    flat, warm = (open_store(store).tas.astype(np.float64).mean(("lat", "lon")) for store in stores)
    years = np.arange(24) / 12 + 2015 - 1990
    assert np.abs(warm - flat - 0.5 * years).max() < 1 / 64
