"""Checks look at whole results of any shape, and say what they know and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.support.catalog_helpers import era5
from xdask_pipelines.access.completeness import Steps
from xdask_pipelines.assets import analysis
from xdask_pipelines.assets.analysis import analysis_of
from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.assets.source import digest
from xdask_pipelines.catalog import Entry
from xdask_pipelines.climate import mean_of_partials, month_partial
from xdask_pipelines.climate.regions import region_fraction
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.resources.input_steps import InputSteps, in_words, input_name, input_steps
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.result_figures import checked_fields, field_figures, partial_figures
from xdask_pipelines.verdicts import Verdict, counted_verdict, field_verdicts, together

LAT, LON = np.linspace(-85, 85, 18), np.arange(0, 360, 10.0)


def made(**options: Any) -> Analysis:
    def result(model_bias: xr.DataArray) -> xr.DataArray:
        return model_bias

    found = analysis_of(analysis(**{"units": "K", **options})(result))
    assert found is not None
    return found


def field(*lead: int, lat: Any = LAT, lon: Any = LON) -> xr.DataArray:
    shape = (*lead, len(lat), len(lon))
    values = 280 + 5 * np.cos(np.deg2rad(lon)) + np.zeros(shape)
    dims = (*(f"n{i}" for i in range(len(lead))), "lat", "lon")
    return xr.DataArray(values, dims=dims, coords={"lat": lat, "lon": lon}, name="tas", attrs={"units": "K"})


def native() -> xr.DataArray:
    lat, lon = np.meshgrid(LAT, LON, indexing="ij")
    return xr.DataArray(
        np.full((18, 36), 290.0),
        dims=("j", "i"),
        coords={
            "latitude": (("j", "i"), lat, {"standard_name": "latitude"}),
            "longitude": (("j", "i"), lon, {"standard_name": "longitude"}),
        },
        attrs={"units": "K"},
    )


def judged(array: xr.DataArray, **options: Any) -> dict[str, Verdict]:
    figures = field_figures(array.chunk(), options.get("gaps")).compute(scheduler="synchronous")
    return field_verdicts(made(**options), array, {str(n): float(v) for n, v in figures.data_vars.items()})


def problems(verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    return {name: v.problem for name, v in verdicts.items() if v.problem}


@pytest.mark.parametrize(
    "array",
    [
        field(),
        field(2, 3),
        field().mean("lon", keep_attrs=True),
        field().mean(keep_attrs=True),
        native(),
        field(lon=np.r_[0:30:10.0, 330:360:10.0]),
        field(lat=LAT[3:9], lon=LON[3:9]),
        field() > 270,
    ],
    ids=["map", "steps", "profile", "number", "native", "wrapped region", "region", "truth values"],
)
def test_sound_results_of_any_shape_pass(array: xr.DataArray) -> None:
    assert problems(judged(array.assign_attrs(units="K"))) == {}


def test_an_array_is_checked_whole_whatever_its_picture_shows() -> None:
    array = field(3)
    array[2, 4, 4] = 400.0
    fields = checked_fields(array, lambda result: result.isel(n0=0))
    assert fields[""].sizes == array.sizes
    assert (
        "Values from 275.00 to 400.00 are outside 170 to 340"
        in problems(judged(fields[""], valid_range=(170, 340)))["value_range"]
    )


def test_each_variable_of_a_dataset_is_checked_and_named() -> None:
    dataset = xr.Dataset({"low": field(), "high": field().assign_attrs(units="degC")})
    fields = checked_fields(dataset, lambda result: result)
    assert list(fields) == ["low", "high"]
    verdict = together({name: judged(array)["units"] for name, array in fields.items()})
    assert str(verdict.problem).startswith("high: ")
    assert not verdict.warn


def test_a_partial_is_checked_as_the_mean_that_it_stands_for() -> None:
    dates = np.arange("2011-01-01", "2011-01-02", dtype="M8[h]").astype("M8[ns]")
    hours = field(24).rename(n0="time").assign_coords(time=dates)
    for preview in (mean_of_partials, lambda result: result):
        fields = checked_fields(month_partial(hours), preview)
        assert list(fields) == [""]
        assert problems(judged(fields[""], valid_range=(170, 340))) == {}


def test_a_land_mask_is_reported_and_refused_only_where_every_cell_is_to_have_a_value() -> None:
    ocean = field()
    ocean[5:8, 10:20] = np.nan
    for options, warn in (
        ({}, True),
        ({"valid_range": (170, 340)}, False),
        ({"valid_range": (170, 340), "gaps": "allowed"}, True),
        ({"gaps": "none"}, False),
    ):
        verdict = judged(ocean, **options)["no_nan"]
        assert str(verdict.problem).startswith("30 of 648 cells have no value")
        assert verdict.warn is warn
    assert 'gaps="allowed"' in str(judged(ocean, valid_range=(170, 340))["no_nan"].problem)


def test_cells_may_lack_values_in_a_region_only() -> None:
    ocean = field()
    land = region_fraction(ocean, "land") > 0
    verdict = judged(ocean.where(~land), valid_range=(170, 340), gaps="land")
    assert problems({name: v for name, v in verdict.items() if not v.warn}) == {}
    assert verdict["no_nan"].warn
    holed = ocean.where(~land)
    holed.loc[{"lat": -45.0, "lon": 240.0}] = np.nan  # in the Pacific
    assert "1 of them lie outside 'land'" in str(judged(holed, gaps="land")["no_nan"].problem)
    with pytest.raises(ClimateError, match="unknown region 'ocean'"):
        analysis(gaps="ocean")


def test_a_native_grid_has_land_by_nature() -> None:
    array = native()
    array[3:6] = np.nan
    assert judged(array, valid_range=(170, 340))["no_nan"] == Verdict("108 of 648 cells have no value.", warn=True)


def test_a_result_without_any_value_is_refused() -> None:
    for array in (field() * np.nan, native() * np.nan):
        verdict = judged(array.assign_attrs(units="K"), gaps="allowed")["no_nan"]
        assert "No value of result is finite" in str(verdict.problem)
        assert not verdict.warn


def test_infinite_values_are_refused() -> None:
    array = field()
    array[3, 3] = np.inf
    assert "1 value is infinite" in problems(judged(array))["value_range"]


def test_poles_and_seam_are_looked_at_in_global_maps_only() -> None:
    array = field() + 20 * np.arange(36) / 36
    array[0] = np.nan
    found = problems(judged(array))
    assert "nearest to the south pole" in found["pole_rows"]
    assert "cyclic point" in found["no_seam"]
    assert set(problems(judged(array[:, :30]))) == {"no_nan"}


def test_a_seam_in_one_of_many_steps_is_found() -> None:
    array = field(4)
    assert judged(array)["no_seam"] == Verdict(None)
    array[2] = field() + 20 * np.arange(36) / 36
    assert "cyclic point" in problems(judged(array))["no_seam"]


def hours(n: int = 744) -> xr.DataArray:
    dates = np.datetime64("2011-01-01", "ns") + np.arange(n) * np.timedelta64(1, "h")
    coords = {"time": dates, "lat": [0.0, 10.0], "lon": [0.0, 10.0]}
    return xr.DataArray(
        np.full((n, 2, 2), 280.0, "f4"), dims=("time", "lat", "lon"), coords=coords, attrs={"units": "K"}
    )


def counted(array: xr.DataArray, excerpt: bool = False, **options: Any) -> Verdict:
    partial = month_partial(array)
    figures = {str(n): float(v) for n, v in partial_figures(partial).data_vars.items()}
    made_from = Provenance(
        time_steps=partial.attrs["time_steps"], excerpted=excerpt, steps={"era5 2011-01": Steps(744, 744, excerpt)}
    )
    return counted_verdict(made(**options), era5("2011-01", header=made_from.in_header()), figures)


def test_steps_without_any_value_and_cells_without_some_are_counted_and_refused() -> None:
    assert counted(hours()) == Verdict(None)
    array = hours()
    array[:144] = np.nan
    assert str(counted(array).problem).startswith("600 of 744 h have data: values of the source are missing.")
    array[200:210, 0] = np.nan
    verdict = counted(array)
    assert str(verdict.problem).startswith("600 of 744 h have data; 2 cells lack a value in some hours")
    assert not verdict.warn


def test_cells_that_never_have_a_value_are_no_gap_in_time() -> None:
    array = hours()
    array[:, 0, 0] = np.nan
    assert counted(array) == Verdict(None)


def test_what_is_missing_of_an_excerpt_is_a_warning() -> None:
    array = hours()
    array[:144] = np.nan
    assert counted(array, excerpt=True) == Verdict("600 of 744 h have data (excerpt).", warn=True)


# ---- steps of inputs through all ancestors ------------------------------------------------------------------------


class Store:
    """Results of a few assets."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = entries

    def partitions(self, asset: str) -> list[str]:
        return sorted(e.part for e in self.entries if e.dataset == asset and e.part)

    def find(self, asset: str, partitions: Any = ("",), run_id: str | None = None) -> list[Entry]:
        found = {e.part: e for e in self.entries if e.dataset == asset}
        return [found[p] for p in partitions if p in found]


def stored(asset: str, part: str = "", upstream: Mapping[str, Any] | None = None, **made_from: Any) -> Entry:
    versions = {name: digest(of_parts) for name, of_parts in (upstream or {}).items()}
    return Entry(
        dataset=asset,
        region="us-east-1",
        layout="result",
        key=f"results/{asset}/1.zarr",
        format="zarr3",
        variable=asset,
        version="1",
        size_bytes=1,
        etag="e",
        modified_ns=1,
        part=part,
        header=Provenance(upstream=versions, **made_from).in_header(),
        attributes={"data_version": f"{asset}{part}"},
    )


def months(excerpt: bool, *found: int) -> list[Entry]:
    return [
        stored("monthly", f"2026-{m:02}", steps={f"era5 2026-{m:02}": Steps(n, 744, excerpt)})
        for m, n in enumerate(found, start=1)
    ]


def test_steps_are_known_through_results_of_results() -> None:
    first = months(True, 744, 24)
    mean = stored("mean", upstream={"monthly": {e.part: e.attributes["data_version"] for e in first}})
    last = stored("last", upstream={"mean": {"": "mean"}}, uncounted=("cmip6 1850-01 until before 1851-01",))
    known = input_steps(Store(*first, mean, last), last, digest)  # type: ignore[arg-type]
    assert known.gaps == {"era5 2026-02": Steps(24, 744, True)}
    assert known.changed == ()
    assert str(known) == (
        "era5: 24 of 744 h of 2026-02 have data (excerpt). All 744 h of era5 2026-01 have data. The expected number of "
        "steps of cmip6 1850-01 until before 1851-01 is unknown; all existing steps were used."
    )


def test_a_result_that_was_made_again_since_is_not_taken_for_the_one_that_was_used() -> None:
    first = months(False, 744)
    mean = stored("mean", upstream={"monthly": {"2026-01": "another version"}})
    known = input_steps(Store(*first, mean), mean, digest)  # type: ignore[arg-type]
    assert known.changed == ("monthly",)
    assert "monthly changed since" in str(known)


def test_a_partition_knows_the_steps_of_its_own_month_only() -> None:
    first = months(False, 744, 24)
    anomaly = stored("anomaly", "2026-01", upstream={"monthly": {e.part: e.attributes["data_version"] for e in first}})
    known = input_steps(Store(*first, anomaly), anomaly, digest)  # type: ignore[arg-type]
    assert (list(known.counted), known.gaps, known.changed) == (["era5 2026-01"], {}, ())


def test_many_gaps_are_listed_in_short_and_nothing_known_is_nothing_said() -> None:
    many = InputSteps({f"era5 2026-{m:02}": Steps(1, 2, False) for m in range(1, 13)})
    assert str(many).endswith("era5: 1 of 2 h of 2026-03 have data; and 9 more.")
    assert str(InputSteps()) == "No input has time steps to count."
    assert "have data" not in str(InputSteps(uncounted=("cmip6",)))


def test_an_input_is_named_by_its_dataset_and_period() -> None:
    assert input_name(era5("2011-07")) == "era5 2011-07"
    assert in_words("era5 2026-03", Steps(24, 744, True)) == "era5: 24 of 744 h of 2026-03 have data (excerpt)"
