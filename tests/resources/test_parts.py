"""Partitions of a result: dated, joined, and found again."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.assets import analysis
from xdask_pipelines.climate import monthly_means, time_weighted_mean
from xdask_pipelines.climate.axes import PARTITION
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.resources.parts import (
    along_keys,
    calendars_of,
    chosen,
    dated,
    named,
    parts_for,
    stacked,
    steps_in_store,
)


def field(value: float) -> xr.DataArray:
    return xr.DataArray([[value, value]], coords={"lat": [0.0], "lon": [0.0, 180.0]}, attrs={"units": "K"})


def months(*keys: str, calendar: str = "standard") -> xr.Dataset:
    parts = {key: dated(field(i), key, {calendar}).to_dataset(name="tas") for i, key in enumerate(keys)}
    return stacked(parts)


@pytest.mark.parametrize(
    ("calendar", "key", "days"),
    [
        ("standard", "2012-02", 29),
        ("noleap", "2012-02", 28),
        ("360_day", "2012-02", 30),
        ("360_day", "2012", 360),
        ("standard", "2012-02-29", 1),
        ("noleap", "2011-02-28", 1),
    ],
)
def test_a_part_has_the_bounds_of_its_period_in_the_calendar_of_its_data(calendar: str, key: str, days: int) -> None:
    part = dated(field(1.0), key, {calendar})
    assert part.time.dt.calendar == calendar
    assert (part.time_upper.item() - part.time_lower.item()).days == days


@pytest.mark.parametrize(
    ("key", "calendars"), [("A1B", {"standard"}), ("2011-01", {"standard", "noleap"}), ("", set())]
)
def test_no_time_is_made_up(key: str, calendars: set[str]) -> None:
    assert "time" not in dated(field(1.0), key, calendars).coords


def test_a_time_of_its_own_is_kept() -> None:
    own = field(1.0).assign_coords(time=xr.date_range("2011-01-16", periods=1, use_cftime=True)[0])
    assert dated(own, "2011-01", {"standard"}).time.item().day == 16


def test_months_of_a_store_are_along_time_with_weights_by_their_lengths() -> None:
    series = along_keys(months("2011-01", "2011-02", "2011-03", calendar="noleap")["tas"])
    assert series.dims == ("time", "lat", "lon")
    assert PARTITION not in series.coords
    assert time_weighted_mean(series).values[0, 0] == pytest.approx((0 * 31 + 1 * 28 + 2 * 31) / 90, abs=1e-13)
    with pytest.raises(ClimateError, match="lacks 2011-02-01 00:00:00 until before 2011-03-01"):
        time_weighted_mean(series[[0, 2]])


def test_scenarios_lie_along_their_facet() -> None:
    scenarios = {key: named(field(i), key, "experiment_id") for i, key in enumerate(("A1B", "E1"))}
    joined = stacked({key: part.to_dataset(name="tas") for key, part in scenarios.items()})
    assert joined.sizes[PARTITION] == 2
    assert along_keys(joined).experiment_id.values.tolist() == ["A1B", "E1"]
    assert along_keys(joined).tas.sel(experiment_id="E1").values[0, 0] == 1


def test_months_have_no_other_name() -> None:
    assert "key" not in named(field(1.0), "2011-01", "key").coords
    assert "key" not in named(field(1.0), "", "key").coords


@pytest.mark.parametrize("wanted", [["2011-02"], ["2011-01", "2011-03"]])
@pytest.mark.parametrize("own_steps", [False, True])
def test_some_partitions_are_found_again(wanted: list[str], own_steps: bool) -> None:
    keys = ["2011-01", "2011-02", "2011-03"]
    if own_steps:
        times = {key: xr.date_range(key, periods=28, use_cftime=True) for key in keys}
        parts = {key: xr.Dataset({"tas": ("time", np.full(28, i))}, {"time": times[key]}) for i, key in enumerate(keys)}
        joined = stacked(parts)
        assert steps_in_store(parts) == ("time", {"2011-01": (0, 28), "2011-02": (28, 56), "2011-03": (56, 84)})
    else:
        joined = months(*keys)
    found = np.unique(chosen(joined, keys, wanted)["tas"].values)
    assert found.tolist() == [keys.index(key) for key in wanted]


def test_steps_outside_of_the_period_of_a_key_do_not_make_it_a_series() -> None:
    times = xr.date_range("2000-01-01", periods=3, use_cftime=True)
    parts = {key: xr.Dataset({"tas": ("time", np.ones(3))}, {"time": times}) for key in ("2011-01", "2011-02")}
    assert steps_in_store(parts)[0] == PARTITION


def test_years_get_their_months_and_days_theirs() -> None:
    there = ["2010-12", "2011-01", "2011-12", "2012-01"]
    assert parts_for("2011", there) == ["2011-01", "2011-12"]
    assert parts_for("2011-12", ["2011-12-01", "2011-12-31", "2012-01-01"]) == ["2011-12-01", "2011-12-31"]
    assert parts_for("", there) == there


def test_calendars_of_inputs_are_found_in_ensembles_too() -> None:
    one = field(1.0).expand_dims(time=xr.date_range("2011-01", periods=1, calendar="noleap", use_cftime=True))
    two = field(1.0).expand_dims(time=np.array(["2011-01-01"], "datetime64[ns]"))
    assert calendars_of([{"a": one, "b": two}, "no data"]) == {"noleap", "proleptic_gregorian"}


def test_monthly_means_need_months() -> None:
    partial = xr.Dataset({"sum": field(10.0), "count": field(2.0)})
    with pytest.raises(ClimateError, match=r"no time dimension.*mean_of_partials"):
        monthly_means(partial)


@pytest.mark.parametrize(
    ("definition", "remedy"),
    [
        (dg.MonthlyPartitionsDefinition("2011-03-01"), r'Pass fmt="%Y-%m"'),
        (dg.HourlyPartitionsDefinition("2011-03-01-00:00"), r'Pass fmt="%Y-%m-%dT%H"'),
        (dg.WeeklyPartitionsDefinition("2011-03-06"), "Use monthly, daily or hourly"),
    ],
)
def test_keys_that_are_not_their_periods_are_refused(definition: dg.PartitionsDefinition[str], remedy: str) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=f"hourly: the partition .* lasts from.*{remedy}"):

        @analysis(partitions_def=definition)
        def hourly(x: xr.DataArray) -> xr.DataArray:
            return x


@pytest.mark.parametrize(
    "definition",
    [
        dg.MonthlyPartitionsDefinition("2011-03", fmt="%Y-%m"),
        dg.DailyPartitionsDefinition("2011-02-28"),
        dg.TimeWindowPartitionsDefinition("2011", "%Y", cron_schedule="0 0 1 1 *"),
        dg.StaticPartitionsDefinition(["A1B"]),
        dg.MonthlyPartitionsDefinition("2999-03-01"),
    ],
)
def test_keys_that_are_periods_or_no_times_are_taken(definition: dg.PartitionsDefinition[str]) -> None:
    @analysis(partitions_def=definition)
    def hourly(x: xr.DataArray) -> xr.DataArray:
        return x
