"""Skill and ensembles: definitions, one model one vote, and what must not be mixed."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import area_weighted_mean, cell_areas
from xdask_pipelines.climate.analyses import Member, ensemble_statistics, model_means, skill
from xdask_pipelines.climate.drawing.picture_frame import in_words
from xdask_pipelines.errors import ClimateError

LAT, LON = np.arange(-85.0, 90, 10), np.arange(0.0, 360, 20)


def field(seed: int, mean: float = 280.0) -> xr.DataArray:
    values = mean + np.random.default_rng(seed).normal(0, 10, (18, 18))
    return xr.DataArray(values, coords={"lat": LAT, "lon": LON}, dims=("lat", "lon"), name="tas", attrs={"units": "K"})


def test_skill_is_that_of_its_formulas() -> None:
    one, other = field(1), field(2, 282.0)
    figures = skill(one, other)
    weights = cell_areas(one) / cell_areas(one).sum()
    gap = one - other
    assert float(figures.bias) == pytest.approx(float(area_weighted_mean(gap)), abs=1e-12)
    assert float(figures.rmse) == pytest.approx(float(np.sqrt((weights * gap**2).sum())), rel=1e-12)
    own, ref = one - (weights * one).sum(), other - (weights * other).sum()
    covariance = float((weights * own * ref).sum())
    spreads = [float(np.sqrt((weights * each**2).sum())) for each in (own, ref)]
    assert float(figures.standard_deviation) == pytest.approx(spreads[0], rel=1e-12)
    assert float(figures.reference_standard_deviation) == pytest.approx(spreads[1], rel=1e-12)
    assert float(figures.pattern_correlation) == pytest.approx(covariance / spreads[0] / spreads[1], rel=1e-12)
    assert float(figures.centred_rmse) ** 2 == pytest.approx(
        spreads[0] ** 2 + spreads[1] ** 2 - 2 * covariance, rel=1e-12
    )
    assert float(figures.rmse) ** 2 == pytest.approx(
        float(figures.bias) ** 2 + float(figures.centred_rmse) ** 2, rel=1e-12
    )


def test_skill_of_members_masks_and_laziness() -> None:
    members = xr.concat([field(1), field(2), field(3)], "member")
    figures = skill(members.chunk(member=1, lat=9), field(4))
    assert figures.bias.dims == ("member",)
    assert isinstance(figures.bias.data, da.Array)
    xr.testing.assert_allclose(figures.isel(member=1).compute(), skill(field(2), field(4)))
    assert float(skill(field(1) * 0 + 1, field(1)).pattern_correlation.isnull()) == 1
    masked = field(1).where(field(1).lat > -60)
    assert np.isnan(skill(masked, field(2)).rmse)
    north = skill(field(1).sel(lat=slice(-60, None)), field(2).sel(lat=slice(-60, None)))
    xr.testing.assert_allclose(skill(masked, field(2), min_fraction=0.5), north)
    with pytest.raises(ClimateError, match="regrid one"):
        skill(field(1), field(2).isel(lat=slice(0, 9)))


def ensemble() -> dict[Member, xr.DataArray]:
    runs = {("A", "r1"): 1, ("A", "r2"): 2, ("A", "r3"): 3, ("B", "r1"): 4, ("C", "r1"): 5, ("C", "r2"): 6}
    return {Member(*key): field(seed, 0.0) for key, seed in runs.items()}


@pytest.mark.parametrize("chunks", [None, {"lat": 6}])
def test_one_model_one_vote(chunks: Any) -> None:
    runs = {key: each.chunk(chunks) if chunks else each for key, each in ensemble().items()}
    models = np.stack([np.mean([field(s, 0.0).values for s in seeds], axis=0) for seeds in ((1, 2, 3), (4,), (5, 6))])
    means = model_means(runs)
    assert means.model.values.tolist() == ["A", "B", "C"]
    assert means.members.values.tolist() == [3, 1, 2]
    np.testing.assert_allclose(means, models)
    found = ensemble_statistics(runs, percentiles=(0, 50, 100))
    np.testing.assert_allclose(found.ensemble_mean, models.mean(axis=0))
    np.testing.assert_allclose(found.ensemble_spread, models.std(axis=0, ddof=1))
    np.testing.assert_allclose(
        found.ensemble_percentile.transpose("percentile", ...), np.percentile(models, [0, 50, 100], axis=0)
    )
    agree = (np.sign(models) == np.sign(models.mean(axis=0))).mean(axis=0)
    np.testing.assert_allclose(found.sign_agreement, agree)
    assert found.attrs["runs"].startswith("A r1, A r2")


def test_members_vote_in_ensembles_of_one_model() -> None:
    runs = {key: each for key, each in ensemble().items() if key.source_id == "A"}
    values = np.stack([each.values for each in runs.values()])
    found = ensemble_statistics(runs, vote="member")
    np.testing.assert_allclose(found.ensemble_spread, values.std(axis=0, ddof=1))
    assert np.isnan(ensemble_statistics(runs).ensemble_spread).all()  # one model, one vote


def monthly(calendar: str, freq: str = "MS", steps: int = 12) -> xr.DataArray:
    time = xr.date_range("2001-01", periods=steps, freq=freq, calendar=calendar, use_cftime=True)
    return xr.DataArray(np.arange(float(steps)), coords={"time": time}, dims="time", name="tas", attrs={"units": "K"})


def test_calendars_mix_as_months_and_not_as_days() -> None:
    runs = {Member("A", "r1"): monthly("360_day"), Member("B", "r1"): monthly("noleap")}
    assert ensemble_statistics(runs).ensemble_mean.values.tolist() == list(range(12))
    days = {Member("A", "r1"): monthly("360_day", "D", 90), Member("B", "r1"): monthly("noleap", "D", 90)}
    with pytest.raises(ClimateError, match=r"A r1 has the calendar '360_day', B r1 'noleap'.*period_means"):
        ensemble_statistics(days)


def test_runs_that_do_not_fit_are_refused_by_name() -> None:
    good = field(1)
    for other, reason in (
        (good.assign_attrs(units="degC"), "A r1 is in 'K', B r1 in 'degC'"),
        (good[:9], "A r1 has 18 values along 'lat', B r1 9"),
        (good.assign_coords(lat=LAT + 1), "A r1 and B r1 differ in 'lat'"),
        (good.expand_dims(time=1), "B r1 .*dimensions|B r1"),
    ):
        with pytest.raises(ClimateError, match=reason):
            ensemble_statistics({Member("A", "r1"): good, Member("B", "r1"): other})
    with pytest.raises(ClimateError, match="at least one run"):
        ensemble_statistics({})
    with pytest.raises(ClimateError, match="0 to 100"):
        ensemble_statistics({Member("A", "r1"): good}, percentiles=(101,))


def test_changes_of_temperature_stay_differences_and_are_not_shown_in_celsius() -> None:
    def run(value: float) -> xr.DataArray:
        attrs = {"units": "K", "units_metadata": "temperature: difference"}
        coords = {"lat": [45.0, -45.0], "lon": [90.0, 270.0]}
        return xr.DataArray(np.full((2, 2), value), coords=coords, name="tas", attrs=attrs)

    changes = {Member("A", "r1"): run(1.0), Member("B", "r1"): run(4.0)}
    found = ensemble_statistics(changes)
    for name, value in (("ensemble_mean", 2.5), ("ensemble_spread", np.sqrt(4.5))):
        words = in_words(found[name], value)
        assert words.units == "K"
        np.testing.assert_allclose(words.values, value)
    assert in_words(found.ensemble_percentile[0], 1.15).units == "K"
    assert "units_metadata" not in found.sign_agreement.attrs
    fields = {member: (280 + field).drop_attrs(deep=False).assign_attrs(units="K") for member, field in changes.items()}
    absolute = ensemble_statistics(fields)
    assert in_words(absolute.ensemble_mean, 282.5).units == "°C"
    assert in_words(absolute.ensemble_spread, 2.1).units == "K"
    figures = skill(run(4.0), run(1.0))
    assert figures.bias.attrs["units_metadata"] == figures.rmse.attrs["units_metadata"] == "temperature: difference"
    assert "units_metadata" not in figures.pattern_correlation.attrs
