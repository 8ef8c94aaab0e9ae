"""The committed sample is real, honest about itself, and has the figures that everything else relies on."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines import climate
from xdask_pipelines.errors import ClimateError

ROOT = Path(__file__).parents[1]
ERA5 = ROOT / "data/us-east-1/era5-pds/2026/03/data/air_temperature_at_2_metres.nc"
CMIP6 = ROOT / "data/us-west-2/cmip6"
RUNS = {"pre-industrial": 286.5419, "A1B": 290.9470, "E1": 288.6661}


def store(experiment: str) -> Path:
    return CMIP6 / "ENSEMBLES/MOHC/MetUM-N96" / experiment / "r1i1p1/Ayr/tas/gn/v20250228"


def era5_week() -> xr.DataArray:
    with h5py.File(ERA5) as file:
        variable = file["air_temperature_at_2_metres"]
        axes = {
            name: (name, file[name][:], {"standard_name": what})
            for name, what in (("time0", "time"), ("lat", "latitude"), ("lon", "longitude"))
        }
        axes["time0"][2]["units"] = file["time0"].attrs["units"]
        return xr.DataArray(variable[:], dims=("time0", "lat", "lon"), coords=axes, attrs={"units": "K"})


def run(experiment: str) -> xr.DataArray:
    decoder = xr.coders.CFDatetimeCoder(use_cftime=True)
    return xr.open_zarr(store(experiment), chunks=None, decode_times=decoder).tas.load()


def test_era5_file_has_the_exact_layout_of_the_public_bucket() -> None:
    with h5py.File(ERA5) as file:
        variable = file["air_temperature_at_2_metres"]
        assert variable.shape == (24, 181, 360)
        assert variable.dtype == np.float32
        assert variable.chunks == (24, 100, 100)
        assert (variable.compression, variable.shuffle) == ("gzip", True)
        assert variable.attrs["units"] == "K"
        assert [dim[0].name for dim in variable.dims] == ["/time0", "/lat", "/lon"]
        assert file["time0"].attrs["units"] == "seconds since 1970-01-01"
        assert file["lat"].dtype == file["lon"].dtype == np.float32
        assert np.array_equal(file["lat"][:], np.arange(90, -91, -1))
        assert np.array_equal(file["lon"][:], np.arange(360))
        hours = (file["time0"][:] - np.datetime64("2026-03-01", "s").astype(float)) / 3600
        assert hours.min() == 24 * 24
        assert hours.max() == 744 - 1


def test_each_file_carries_its_licence_and_attribution() -> None:
    with h5py.File(ERA5) as file:
        assert file.attrs["license"] == "CC-BY-4.0"
        assert "Copernicus Climate Change Service information (2026)" in file.attrs["attribution"]
        assert "very 4th point" in file.attrs["history"]
    for experiment in RUNS:
        attrs = xr.open_zarr(store(experiment), chunks=None).attrs
        assert "Open Government Licence" in attrs["license"]
        assert "Crown copyright" in attrs["attribution"]
    notice = (ROOT / "NOTICE").read_text()
    for words in ("Copernicus Climate Change Service information (2026)", "Crown copyright", "Michael Bostock"):
        assert words in notice


@pytest.mark.parametrize("experiment", RUNS)
def test_store_says_in_its_attributes_what_its_path_says(experiment: str) -> None:
    dataset = xr.open_zarr(store(experiment), chunks=None, consolidated=True)
    names = "activity_id institution_id source_id experiment_id member_id table_id variable_id grid_label version"
    parts = store(experiment).relative_to(CMIP6).parts
    assert [dataset.attrs[name] for name in names.split()] == list(parts)
    assert "Not CMIP6 data" in dataset.attrs["comment"]
    assert dataset.tas.dtype == np.float32
    assert dataset.tas.dims == ("lat", "lon")


@pytest.mark.parametrize(("experiment", "year"), [("pre-industrial", 1859), ("A1B", 2098), ("E1", 2098)])
def test_annual_means_have_a_scalar_time_within_bounds_of_360_days(experiment: str, year: int) -> None:
    decoder = xr.coders.CFDatetimeCoder(use_cftime=True)
    dataset = xr.open_zarr(store(experiment), chunks=None, decode_times=decoder)
    first, last = dataset.time_bnds.values
    assert first.calendar == "360_day"
    assert (first.year, first.month, first.day) == (year, 12, 1)
    assert (last - first).days == 360
    assert dataset.time.ndim == 0
    assert first < dataset.time.item() < last


@pytest.mark.parametrize(("experiment", "kelvin"), RUNS.items())
def test_area_mean_of_each_run(experiment: str, kelvin: float) -> None:
    assert float(climate.area_weighted_mean(run(experiment))) == pytest.approx(kelvin, abs=1e-4)


def test_differences_on_the_model_grid_have_the_known_means() -> None:
    with pytest.raises(ClimateError, match="steps at uneven intervals"):
        climate.month_partial(era5_week())
    excerpt = era5_week().assign_attrs(excerpt="24 of 744 h", units="K")
    week = climate.mean_of_partials(climate.month_partial(excerpt))
    assert float(climate.area_weighted_mean(week)) == pytest.approx(287.5484, abs=1e-4)
    a1b, e1, before = run("A1B"), run("E1"), run("pre-industrial")
    historic = climate.regrid(week, a1b.lat, a1b.lon)

    def mean(field: xr.DataArray) -> float:
        assert not np.isnan(field).any()
        return float(climate.area_weighted_mean(field))

    assert mean(climate.difference(a1b, historic)) == pytest.approx(3.3986, abs=1e-4)
    assert mean(climate.difference(e1, historic)) == pytest.approx(1.1177, abs=1e-4)
    assert mean(climate.climate_signal(a1b, before)) == pytest.approx(4.4051, abs=1e-4)
    assert mean(climate.climate_signal(e1, before)) == pytest.approx(2.1242, abs=1e-4)


def test_bias_and_signal_add_up_to_the_difference() -> None:
    a1b, before = run("A1B"), run("pre-industrial")
    historic = climate.regrid(era5_week().mean("time0", keep_attrs=True), a1b.lat, a1b.lon)
    parts = climate.model_bias(before, historic) + climate.climate_signal(a1b, before)
    assert float(abs(parts - climate.difference(a1b, historic)).max()) < 1e-9
