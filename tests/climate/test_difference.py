"""Nothing is subtracted from what it does not match, and nothing is aligned away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import area_weighted_mean, climate_signal, difference, field_statistics, model_bias
from xdask_pipelines.errors import ClimateError

LAT, LON = np.linspace(-90, 90, 19), np.arange(0, 360, 10.0)


def made(seed: int, lat: Any = LAT, lon: Any = LON, **attrs: Any) -> xr.DataArray:
    values = 280 + np.random.default_rng(seed).standard_normal((len(lat), len(lon))).astype("f4")
    coords = {"lat": lat, "lon": lon}
    attrs = {"units": "K", "standard_name": "air_temperature", "long_name": "air temperature", **attrs}
    return xr.DataArray(values, dims=("lat", "lon"), coords=coords, attrs=attrs)


def test_difference_is_bias_plus_signal() -> None:
    projected, reference, historic = made(1), made(2), made(3)
    whole = difference(projected, historic)
    parts = model_bias(reference, historic) + climate_signal(projected, reference)
    assert float(np.abs(whole - parts).max()) < 1e-12
    assert whole.dtype == np.float64
    assert np.array_equal(whole, projected.values.astype(np.float64) - historic.values)


def test_result_says_what_it_is() -> None:
    result = model_bias(made(1, history="long"), made(2))
    assert result.name == "model_bias"
    assert result.attrs == {
        "units": "K",
        "units_metadata": "temperature: difference",
        "standard_name": "air_temperature",
        "long_name": "air temperature: reference run minus historic",
    }


def test_result_owes_attribution_to_both() -> None:
    result = difference(made(1, attribution="By A.", license="X"), made(2, attribution="By B.", license="X"))
    assert result.attrs["attribution"] == "By A. By B."
    assert result.attrs["license"] == "X"


def test_other_grid_is_refused_naming_both_where_xarray_would_drop_cells() -> None:
    shifted = made(2, lat=LAT[:-1])
    assert (made(1) - shifted).sizes["lat"] == 18  # the trap
    with pytest.raises(ClimateError, match=r"19 x 36 \(lat -90 to 90.*18 x 36 \(lat -90 to 80.*regrid"):
        difference(made(1), shifted)
    with pytest.raises(ClimateError, match="lat 90 to -90"):
        difference(made(1), made(2, lat=LAT[::-1]))


def test_coordinates_that_only_differ_in_precision_match() -> None:
    result = difference(made(1), made(2, lat=LAT.astype("f4"), lon=LON.astype("f4")))
    assert result.shape == (19, 36)


@pytest.mark.parametrize("units", ["degC", "celsius", "degrees Celsius", "°C"])
def test_celsius_is_refused_with_the_remedy(units: str) -> None:
    with pytest.raises(ClimateError, match=r"historic field is in .*\(field \+ 273\.15\)\.assign_attrs"):
        difference(made(1), made(2, units=units))


def test_missing_or_different_units_are_refused() -> None:
    with pytest.raises(ClimateError, match="projected field has no units"):
        difference(made(1).drop_attrs(), made(2))
    with pytest.raises(ClimateError, match="'K' but reference run in 'Pa'"):
        climate_signal(made(1), made(2, units="Pa"))


def test_different_months_are_refused_and_a_mean_may_be_taken_off_each() -> None:
    year = xr.concat([made(i) for i in range(3)], "month").assign_coords(month=[1, 2, 3])
    with pytest.raises(ClimateError, match="differ in 'month'"):
        difference(year, year.assign_coords(month=[1, 2, 4]))
    anomaly = difference(year, year.mean("month", keep_attrs=True))
    assert anomaly.dims == ("month", "lat", "lon")
    assert float(np.abs(anomaly.mean("month")).max()) < 1e-4


def test_names_and_order_of_dimensions_may_differ() -> None:
    other = made(2).rename(lat="latitude", lon="longitude").transpose("longitude", "latitude")
    assert np.array_equal(difference(made(1), other), difference(made(1), made(2)))


def test_two_scalar_times_leave_none() -> None:
    result = difference(made(1).assign_coords(time=2098), made(2).assign_coords(time=2026))
    assert "time" not in result.coords


def test_lazy_fields_stay_lazy_and_cost_one_task() -> None:
    a, b = made(1).astype("f8").chunk(), made(2).astype("f8").chunk()
    result = difference(a, b)
    assert len(result.data.dask) == 3
    assert np.array_equal(result, difference(made(1), made(2)))


def test_statistics_of_a_sound_field() -> None:
    field = made(1)
    field[:] = 280 + 10 * np.cos(np.deg2rad(field.lon)) * np.cos(np.deg2rad(field.lat))
    found = field_statistics(field.chunk(lat=5))
    assert all(variable.chunks is not None and variable.ndim == 0 for variable in found.values())
    found = found.compute()
    assert int(found.finite_count) == 19 * 36
    assert int(found.nan_count) == 0
    assert int(found.south_finite_count) == int(found.north_finite_count) == 36
    assert float(found.minimum) == pytest.approx(270, abs=1e-4)
    assert float(found.maximum) == pytest.approx(290, abs=1e-4)
    assert float(found.seam_step) <= float(found.largest_step)
    assert float(found.area_mean) == pytest.approx(float(area_weighted_mean(field)), rel=1e-14)
    assert found.minimum.attrs["units"] == "K"


def test_statistics_show_a_hole_at_a_pole_a_seam_and_missing_values() -> None:
    field = made(1)[::-1].copy()
    field[-1] = np.nan  # descending: the south
    field[5, 0] += 100
    field[7, 7] = np.inf
    found = field_statistics(field)
    assert (int(found.south_finite_count), int(found.north_finite_count)) == (0, 36)
    assert int(found.nan_count) == 36
    assert int(found.finite_count) == 18 * 36 - 1
    assert float(found.maximum) < 400
    assert float(found.seam_step) > 90
    assert not np.isfinite(found.area_mean)


def test_statistics_of_other_dimensions_are_one_a_step_and_region_has_no_seam() -> None:
    year = xr.concat([made(i, lon=LON[:9]) for i in range(3)], "month")
    found = field_statistics(year)
    assert found.maximum.dims == ("month",)
    assert found.seam_step.isnull().all()
    assert np.array_equal(found.maximum, year.max(["lat", "lon"]))


def test_statistics_of_nothing_are_nan_not_an_error() -> None:
    found = field_statistics(made(1) * np.nan)
    assert int(found.finite_count) == 0
    assert np.isnan(found.minimum)
    assert np.isnan(found.largest_step)
