"""Steps begin and end where their bounds or their spacing say, and a period is selected whole or not at all."""

from __future__ import annotations

from typing import Any

import cftime
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import select_period, with_bounds
from xdask_pipelines.climate.times.time_axis import TimeAxis
from xdask_pipelines.climate.times.time_faults import fault_of
from xdask_pipelines.errors import ClimateError

DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
EDGES = np.r_[0, DAYS.cumsum()].astype("f8")
GOOD = np.stack([EDGES[:-1], EDGES[1:]], 1)


def _axis(stamps: Any, bounds: np.ndarray | None = None) -> TimeAxis:
    ends = None if bounds is None else (bounds[:, 0], bounds[:, 1])
    return TimeAxis.from_numbers(stamps, "days since 2001-01-01", "noleap", ends)


def _changed(*changes: tuple[int, int, float]) -> np.ndarray:
    bounds = GOOD.copy()
    for step, side, value in changes:
        bounds[step, side] = value
    return bounds


MIDDLES, ENDS = GOOD.mean(axis=1), GOOD[:, 1]


@pytest.mark.parametrize("stamps", [MIDDLES, ENDS, GOOD[:, 0]])
def test_bounds_that_touch_and_hold_their_stamps_are_sound(stamps: np.ndarray) -> None:
    assert fault_of(_axis(stamps, GOOD)) is None


@pytest.mark.parametrize(
    ("bounds", "fault"),
    [
        (_changed((0, 0, -700_000.0)), "bounds far from its stamp at step 0"),
        (_changed((11, 1, 700_000.0)), "bounds far from its stamp at step 11"),
        (_changed(*((i, 0, 0.0) for i in range(12))), "bounds that overlap at steps 0 and 1"),
        (_changed((3, 1, 91.0)), "lies outside its bounds at step 3"),
        (_changed((3, 1, 110.0)), "bounds that leave a gap between steps 3 and 4"),
        (GOOD + 3650.0, "lies outside its bounds at step 0"),
        (_changed((5, 0, np.nan)), "has no bounds at step 5"),
        (GOOD[:, ::-1], "bounds that span no time at step 0"),
        (GOOD[:11], "12 steps and bounds of shape"),
    ],
)
def test_bounds_that_cannot_be_true_are_named_by_step(bounds: np.ndarray, fault: str) -> None:
    found = fault_of(_axis(MIDDLES, bounds))
    assert found is not None
    assert fault in found


def test_missing_months_are_holes_and_no_fault_of_the_bounds() -> None:
    keep = [0, 1, 2, 6, 7, 8, 9]
    axis = _axis(MIDDLES[keep], GOOD[keep])
    assert fault_of(axis) is None
    assert axis.missing() == "2001-04-01 00:00:00 until before 2001-07-01 00:00:00"


def test_bounds_of_no_length_at_all_say_the_same_as_stamps() -> None:
    axis = _axis(np.arange(4.0), np.stack([np.arange(4.0)] * 2, 1))
    assert axis.bounds is None
    assert axis.kind == "even"


@pytest.mark.parametrize(
    ("stamps", "fault"),
    [
        ([0.0, 1.0, 1.0, 2.0], "has 2001-01-02 00:00:00 twice, at steps 1 and 2"),
        ([0.0, 2.0, 1.0], "goes back at step 2, from 2001-01-03 00:00:00 to 2001-01-02 00:00:00"),
        ([0.0, np.nan, 1.0], "has no value at step 1"),
    ],
)
def test_stamps_that_do_not_rise_are_named_by_step(stamps: list[float], fault: str) -> None:
    assert fault_of(_axis(stamps)) == fault


@pytest.mark.parametrize(
    ("stamps", "kind", "holes"),
    [
        (np.arange(48) / 24, "even", 0),
        (np.delete(np.arange(48) / 24, [5, 6, 20]), "even", 2),
        ((np.arange(48) / 24).astype("f4") + np.float32(60_000), "even", 0),
        (MIDDLES, "month", 0),
        (np.delete(MIDDLES, [1, 4]), "month", 2),
        (182.0 + 365 * np.array([0, 1, 2, 5]), "year", 1),
        ([0.0, 0.3, 0.7], "uneven", 0),
        ([15.0], "moment", 0),
    ],
)
def test_spacing_is_recognised_with_its_holes(stamps: Any, kind: str, holes: int) -> None:
    axis = _axis(stamps)
    assert axis.kind == kind
    assert len(axis.holes) == holes


def series(calendar: str = "360_day", first: int = 1995, years: int = 10, stamp_day: int = 15) -> xr.DataArray:
    dates = [cftime.datetime(first + i // 12, i % 12 + 1, stamp_day, calendar=calendar) for i in range(12 * years)]
    return xr.DataArray(np.arange(12.0 * years), dims="t", coords={"t": ("t", dates, {"standard_name": "time"})})


def test_a_period_is_selected_by_months_whatever_the_dimension_is_called() -> None:
    chosen = select_period(series(), 1997, 1998)
    assert chosen.values.tolist() == list(range(24, 48))
    assert select_period(series(), "1997-02", "1997-03").values.tolist() == [25, 26]
    assert select_period(series(), None, 1995).values.tolist() == list(range(12))
    assert select_period(series()).identical(series())


def test_months_stamped_at_their_end_are_selected_by_their_bounds() -> None:
    ends = [cftime.datetime(2001 + (m == 12), m % 12 + 1, 1, calendar="noleap") for m in range(1, 13)]
    begins = [cftime.datetime(2001, m, 1, calendar="noleap") for m in range(1, 13)]
    dataset = xr.Dataset(
        {"tas": ("time", np.arange(12.0)), "time_bnds": (("time", "two"), np.array([begins, ends]).T)},
        coords={"time": ("time", ends, {"bounds": "time_bnds"})},
    )
    field = with_bounds(dataset, "tas")
    assert select_period(field, "2001-01", "2001-02").values.tolist() == [0, 1]
    assert select_period(field, 2001, 2001).size == 12


@pytest.mark.parametrize(
    ("first", "last", "missing"),
    [
        (1980, 1999, "1980-01-01 00:00:00 until before 1995-01-01 00:00:00 is missing"),
        (1999, 2010, "2005-01-01 00:00:00 until before 2011-01-01 00:00:00 is missing"),
        (1900, 1950, "1900-01-01 00:00:00 until before 1951-01-01 00:00:00 is missing"),
    ],
)
def test_a_period_that_the_data_do_not_cover_is_refused_with_what_is_missing(
    first: int, last: int, missing: str
) -> None:
    with pytest.raises(ClimateError, match=missing) as caught:
        select_period(series(), first, last)
    assert "It covers 1995-01-01 00:00:00 until before 2005-01-01 00:00:00" in str(caught.value)


def test_a_hole_inside_the_period_is_refused_and_allowed_in_an_excerpt() -> None:
    field = series().isel(t=[*range(36), *range(96, 120)])
    with pytest.raises(ClimateError, match="1998-01-01 00:00:00 until before 2003-01-01 00:00:00 is missing"):
        select_period(field, 1997, 2004)
    assert select_period(field, 1996, 1997).size == 24
    assert select_period(field.assign_attrs(excerpt="60 of 120 months"), 1997, 2004).size == 12 + 24


def test_a_scalar_time_covers_its_bounds_and_nothing_else() -> None:
    one = series().isel(t=0)
    with pytest.raises(ClimateError, match="does not cover 1900 to 1950"):
        select_period(one, 1900, 1950)
    begin, end = (cftime.datetime(year, 1, 1, calendar="360_day") for year in (1995, 1996))
    bounded = one.assign_coords(t_lower=begin, t_upper=end)
    assert select_period(bounded, 1995, 1995).identical(bounded)
    with pytest.raises(ClimateError, match="1996-01-01 00:00:00 until before 1997-01-01"):
        select_period(bounded, 1995, 1996)


def test_a_step_that_reaches_beyond_the_period_is_refused() -> None:
    dates = [cftime.datetime(year, 7, 1, calendar="noleap") for year in (1995, 1996)]
    yearly = xr.DataArray([1.0, 2.0], dims="time", coords={"time": dates}, name="tas")
    with pytest.raises(ClimateError, match="its step 0 lasts from 1995-01-01 00:00:00 until before 1996-01-01"):
        select_period(yearly, "1995-03", "1995-04")


def test_periods_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ClimateError, match="'soon' is not a year, month or day"):
        select_period(series(), "soon")
    with pytest.raises(ClimateError, match="1995-02-31 does not exist in the calendar '360_day'"):
        select_period(series(), "1995-02-31")
    with pytest.raises(ClimateError, match="no data from 2010 on: the field covers 1995-01-01"):
        select_period(series(), 2010)
    with pytest.raises(ClimateError, match="is empty"):
        select_period(series(), 1999, 1998)
