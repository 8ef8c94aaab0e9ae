"""Ensembles over Regions: scenarios continue their historical runs, each run is reduced at home, one model has one vote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines import open_project
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.catalog.runs import find_runs
from xdask_pipelines.climate import area_weighted_mean, regrid, time_weighted_mean
from xdask_pipelines.climate.analyses import (
    anomaly,
    climatology,
    ensemble_statistics,
    period_means,
    sen_trend,
    skill,
)
from xdask_pipelines.errors import AmbiguousEntries, CatalogError, MissingEntries, XdaskError
from xdask_pipelines.operations.project import instance, run_assets
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.resources.results import Results
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month
from xdask_pipelines.topology import Topology

EAST, WEST = "us-east-1", "us-west-2"
RUNS = {"UKESM1-0-LL": ("360_day", (18, 36), ("r1i1p1f2", "r2i1p1f2")), "CESM2": ("noleap", (24, 48), ("r1i1p1f1",))}
REGIONS = """
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    pool: {instance_type: m5d.large, max_workers: 1}
    datasets:
      - {name: cmip6, layout: cmip6-pds, mount: cmip6}
      - {name: era5, layout: era5-pds, mount: era5}
  - region: us-west-2
    cidr: 10.2.0.0/16
    pool: {instance_type: m5d.large, max_workers: 1}
    datasets: [{name: cmip6, layout: cmip6-pds, mount: cmip6}]
"""
ANALYSES = '''
import dagster as dg
import numpy as np
import xarray as xr

from xdask_pipelines import climate
from xdask_pipelines.assets import Source, analysis
from xdask_pipelines.climate.analyses import anomaly, ensemble_statistics, period_means

TAS = {"variable_id": "tas", "table_id": "Amon", "experiment_id": "ssp245"}
EACH = ("source_id", "member_id")


class Years(dg.Config):
    last: str = "2017"


def period(config):
    return "2011", config.last


@analysis(sources={"runs": Source("cmip6", TAS, time=period, each=EACH, with_parent=True)}, units="K")
def ensemble_warming(runs: dict, config: Years) -> xr.Dataset:
    """Annual warming of each model on one grid, and of all."""
    lat, lon = np.arange(-85.0, 90, 10), np.arange(5.0, 360, 10)
    years = {}
    for run, tas in runs.items():
        change = anomaly(tas, "2011-2014").sel(time=slice("2015", None))
        years[run] = climate.regrid(period_means(change, "year"), lat, lon)
    return ensemble_statistics(years)[["ensemble_mean", "ensemble_spread"]]


@analysis(sources={"tas": Source("cmip6", {**TAS, "source_id": "CESM2"}, time=("2014-11", "2015-02"), with_parent=True)},
          units="K")
def winter(tas: xr.DataArray) -> xr.DataArray:
    """Four months, of which two are of the historical run in another Region."""
    return tas


TAS_ = {"variable_id": "tas", "experiment_id": "ssp245"}
SCENARIOS = dg.StaticPartitionsDefinition(["historical", "ssp245"])


@analysis(sources={"tas": Source("cmip6", {"variable_id": "tas", "source_id": "CESM2"}, partition="experiment_id")},
          partitions_def=SCENARIOS, units="K")
def scenario_mean(tas: xr.DataArray) -> xr.DataArray:
    """Mean of one scenario."""
    return climate.area_weighted_mean(climate.time_weighted_mean(tas))


@analysis(sources={"tas": Source("cmip6", {**TAS_, "source_id": "UKESM1-0-LL"}, partition="member_id")},
          partitions_def=dg.StaticPartitionsDefinition(["r1i1p1f2", "r2i1p1f2"]), units="K")
def member_series(tas: xr.DataArray) -> xr.DataArray:
    """Annual means of one member."""
    return period_means(climate.area_weighted_mean(tas), "year")


@analysis(units="K")
def members_together(member_series: xr.DataArray) -> xr.DataArray:
    """Annual means of all members in one picture."""
    return member_series


@analysis(units="K")
def scenario_range(scenario_mean: xr.DataArray) -> xr.DataArray:
    """Warmest minus coldest scenario."""
    return (scenario_mean.max() - scenario_mean.min()).assign_attrs(units="K")
'''


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPools]:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "regions.yaml").write_text(REGIONS)
    (folder / "analyses").mkdir()
    (folder / "analyses" / "runs.py").write_text(ANALYSES)
    for source, (calendar, shape, members) in RUNS.items():
        for member in members:
            for region, experiment, years in (
                (EAST, "historical", range(2011, 2015)),
                (WEST, "ssp245", range(2015, 2019)),
            ):
                write_cmip6_member(
                    folder / "data" / region / "cmip6",
                    experiment_id=experiment,
                    member_id=member,
                    years=years,
                    calendar=calendar,
                    source_id=source,
                    shape=shape,
                    seed=len(source),
                    chunk_months=24,
                )
    for month in range(1, 13):
        write_era5_month(folder / "data" / EAST / "era5", 2012, month, shape=(19, 36), chunks=(96, 19, 36))
    topology = Topology.load(folder / "regions.yaml")
    with pytest.MonkeyPatch.context() as patch:  # the package's own project may be up, too
        patch.setenv("XDASK_TOPOLOGY", str(folder / "regions.yaml"))
        pools = LocalPools(topology)
        pools.up()
        try:
            sync_datasets(topology)
            yield pools
        finally:
            pools.close()
            pools.down()


def store(pools: LocalPools, source: str, experiment: str, member: str) -> xr.DataArray:
    region, activity = (EAST, "CMIP") if experiment == "historical" else (WEST, "ScenarioMIP")
    folder = pools.topology.data_folder(region) / "cmip6" / activity / "MOHC" / source / experiment / member
    (path,) = folder.glob("Amon/tas/gn/v*")
    return xr.open_zarr(path, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)).tas.load()


def materialized(pools: LocalPools, name: str, keys: tuple[str, ...] = (), **config: Any) -> xr.DataArray | xr.Dataset:
    topology = pools.topology
    with instance(topology) as history:
        run_assets(topology, pools, history, [name], configs={name: config} if config else None, partitions=keys)
    results = Results(topology, open_catalog(topology.catalog_url), pools)
    (computed,), _ = pools.compute(results.open(results.find(name, keys or ("",))))
    return computed


def test_an_ensemble_over_regions_equals_plain_xarray(pools: LocalPools) -> None:
    found = materialized(pools, "ensemble_warming", last="2017")
    lat, lon = np.arange(-85.0, 90, 10), np.arange(5.0, 360, 10)
    models = []
    for source, (_, _, members) in RUNS.items():
        runs = []
        for member in members:
            joined = xr.concat([store(pools, source, e, member) for e in ("historical", "ssp245")], "time")
            change = anomaly(joined.sel(time=slice("2011", "2017")), "2011-2014").sel(time=slice("2015", None))
            runs.append(regrid(period_means(change, "year"), lat, lon).values)
        models.append(np.mean(runs, axis=0))
    np.testing.assert_allclose(found.ensemble_mean.transpose("time", ...).values, np.mean(models, axis=0), atol=1e-9)
    np.testing.assert_allclose(
        found.ensemble_spread.transpose("time", ...).values, np.std(models, axis=0, ddof=1), atol=1e-9
    )


def test_a_scenario_begins_with_its_historical_run_in_another_region(pools: LocalPools) -> None:
    found = materialized(pools, "winter")
    assert [str(each)[:7] for each in found.time.values] == ["2014-11", "2014-12", "2015-01", "2015-02"]
    parts = (store(pools, "CESM2", "historical", "r1i1p1f1")[-2:], store(pools, "CESM2", "ssp245", "r1i1p1f1")[:2])
    assert np.array_equal(found.values, np.concatenate([part.values for part in parts]))


def test_scenarios_are_partitions_and_each_is_kept(pools: LocalPools) -> None:
    means = [float(materialized(pools, "scenario_mean", (key,)).squeeze()) for key in ("historical", "ssp245")]
    for value, experiment in zip(means, ("historical", "ssp245"), strict=True):
        expected = area_weighted_mean(time_weighted_mean(store(pools, "CESM2", experiment, "r1i1p1f1")))
        assert value == pytest.approx(float(expected), abs=1e-9)
    assert float(materialized(pools, "scenario_range")) == pytest.approx(max(means) - min(means), abs=1e-9)


def test_partitions_are_compared_in_one_picture_by_their_names(pools: LocalPools) -> None:
    members = ("r1i1p1f2", "r2i1p1f2")
    both = materialized(pools, "member_series", members)
    found = materialized(pools, "members_together")
    assert found.dims == ("member_id", "time")
    assert found.member_id.values.tolist() == list(members)
    np.testing.assert_array_equal(found.values, both.values)
    expected = period_means(area_weighted_mean(store(pools, "UKESM1-0-LL", "ssp245", "r2i1p1f2")), "year")
    np.testing.assert_allclose(found.sel(member_id="r2i1p1f2").values, expected.values, atol=1e-9)
    with instance(pools.topology) as history:
        event = history.get_latest_materialization_event(dg.AssetKey("members_together"))
    assert "data:image/png" in event.asset_materialization.metadata["plot"].value


def test_a_notebook_opens_the_same_ensemble(pools: LocalPools) -> None:
    with open_project() as project:
        runs = project.ensemble(**TAS, experiment_id="ssp245", time=("2014", "2016"), with_parent=True)
        assert list(map(str, runs)) == ["CESM2 r1i1p1f1", "UKESM1-0-LL r1i1p1f2", "UKESM1-0-LL r2i1p1f2"]
        means = {run: period_means(area_weighted_mean(field), "year") for run, field in runs.items()}
        found = ensemble_statistics(means).ensemble_mean.compute()
        assert set(project.evidence.bytes_read_by_region) == {EAST, WEST}
        assert project.evidence.misplaced_tasks == 0
        one = project.open(**TAS, **CESM, experiment_id="ssp245", time=("2014", "2016"), with_parent=True)
        expected = period_means(area_weighted_mean(one), "year").compute()
    assert found.sizes["time"] == 3
    tas = xr.concat([store(pools, "CESM2", each, "r1i1p1f1") for each in ("historical", "ssp245")], "time")
    np.testing.assert_allclose(expected, period_means(area_weighted_mean(tas.sel(time=slice("2014", "2016"))), "year"))
    with open_project() as project, pytest.raises(CatalogError, match="leave out times and each"):
        project.open(**TAS, **CESM, experiment_id="ssp245", times=["2015"], with_parent=True)


CESM = {"source_id": "CESM2", "member_id": "r1i1p1f1"}


def test_the_assets_of_the_group_climate_are_what_their_functions_say(pools: LocalPools) -> None:
    both = [store(pools, "CESM2", experiment, "r1i1p1f1") for experiment in ("historical", "ssp245")]
    tas = xr.concat(both, "time")
    span = {"first": "2011", "last": "2018"}

    found = materialized(pools, "cmip6_climatology", **CESM, **span, every="season")
    np.testing.assert_allclose(found, climatology(tas, "season").values, atol=1e-9)

    base = {"baseline": "2012-2014"}
    found = materialized(pools, "cmip6_anomaly", **CESM, **span, **base)
    np.testing.assert_allclose(found, anomaly(tas, "2012-2014").values, atol=1e-9)

    found = materialized(pools, "cmip6_regional_series", **CESM, **span, **base, regions=["global", "MED & land"])
    assert found.region.values.tolist() == ["global", "MED & land"]
    wanted = period_means(anomaly(area_weighted_mean(tas), "2012-2014"), "year")
    np.testing.assert_allclose(found.sel(region="global"), wanted, atol=1e-9)

    found = materialized(pools, "cmip6_trend", **CESM, **span)
    wanted = sen_trend(period_means(tas, "year"))
    np.testing.assert_allclose(found.slope, wanted.slope.values, atol=1e-9)
    np.testing.assert_allclose(found.p_value, wanted.p_value.values, atol=1e-9)

    found = materialized(pools, "cmip6_warming_levels", **CESM, **span, **base, window=2, levels=[0.05, 9.0])
    assert np.isfinite(found.central_year.values).tolist() == [True, False]

    found = materialized(
        pools,
        "cmip6_ensemble_change",
        first="2011",
        last="2018",
        future_first="2017",
        future_last="2018",
        **base,
        degrees=10.0,
    )
    assert found.attrs["votes"] == 2
    assert dict(found.ensemble_mean.sizes) == {"lat": 18, "lon": 36}


def test_runs_are_compared_with_the_same_months_of_era5(pools: LocalPools) -> None:
    materialized(pools, "era5_monthly_mean", ("2012-01",))
    with pytest.raises(XdaskError, match=r"era5_monthly_mean are not materialized: 2012-02, |11 months .* are missing"):
        materialized(pools, "cmip6_skill", first="2012", last="2012", degrees=10.0)
    materialized(pools, "era5_monthly_mean", tuple(f"2012-{month:02}" for month in range(2, 13)))
    found = materialized(pools, "cmip6_skill", first="2012", last="2012", degrees=10.0)
    assert found.run.values.tolist() == ["CESM2 r1i1p1f1", "UKESM1-0-LL r1i1p1f2", "UKESM1-0-LL r2i1p1f2"]
    hours = [
        xr.open_dataset(file, engine="netcdf4").air_temperature_at_2_metres.astype("float64")
        for file in sorted(pools.topology.data_folder(EAST).glob("era5/2012/*/data/*.nc"))
    ]
    mean = sum(month.sum("time0") for month in hours) / sum(month.sizes["time0"] for month in hours)
    grid = np.arange(-85.0, 90, 10), np.arange(5.0, 360, 10)
    own = time_weighted_mean(store(pools, "CESM2", "historical", "r1i1p1f1").sel(time="2012"))
    wanted = skill(regrid(own, *grid), regrid(mean.assign_attrs(hours[0].attrs), *grid))
    for name in wanted.data_vars:
        assert float(found[name][0]) == pytest.approx(float(wanted[name]), abs=1e-9), name
    with instance(pools.topology) as history:
        event = history.get_latest_materialization_event(dg.AssetKey("cmip6_skill"))
    metadata = event.asset_materialization.metadata
    assert "data:image/png" in metadata["plot"].value
    assert metadata["misplaced_tasks"].value == 0


@pytest.mark.parametrize(
    ("asset", "config", "reason"),
    [
        ("cmip6_skill", {"variable_id": "pr"}, "only tas"),
        ("cmip6_skill", {"first": None, "last": None}, "give both"),
        ("cmip6_skill", {"first": "2012-02-03"}, "is not a month"),
        ("cmip6_anomaly", {"baseline": "wmo"}, "unknown baseline 'wmo'"),
        ("cmip6_regional_series", {"regions": ["MDE"]}, "unknown region 'MDE'"),
        ("cmip6_regional_series", {"regions": []}, "at least one region"),
        ("cmip6_trend", {"first": "2011", "last": "2010"}, "2011"),
        ("cmip6_trend", {"first": "2011", "last": None}, "give both, or neither"),
        ("cmip6_ensemble_change", {"degrees": 7.0}, "180 must be a multiple"),
        ("cmip6_anomaly", {**CESM, "first": "2011", "last": "2018", "baseline": "1990-2000"}, "baseline '1990-2000'"),
        ("cmip6_anomaly", {**CESM, "first": "1990", "last": "2018"}, "lacks 1990"),
        ("cmip6_anomaly", {"first": "2011", "last": "2018", "member_id": "r7"}, "has no run of"),
    ],
)
def test_bad_config_is_one_error_before_anything_runs(
    pools: LocalPools, asset: str, config: dict[str, Any], reason: str
) -> None:
    with pytest.raises(XdaskError, match=reason):
        materialized(pools, asset, **config)


TAS = {"dataset": "cmip6", "variable_id": "tas", "table_id": "Amon"}


def test_runs_are_found_exactly_or_refused(pools: LocalPools) -> None:
    catalog = open_catalog(pools.topology.catalog_url)
    runs = find_runs(catalog, **TAS, experiment_id="ssp245")
    assert list(runs) == [("CESM2", "r1i1p1f1"), ("UKESM1-0-LL", "r1i1p1f2"), ("UKESM1-0-LL", "r2i1p1f2")]
    (segments,) = find_runs(catalog, **TAS, experiment_id="ssp245", source_id="CESM2", with_parent=True).values()
    assert [[entry.region for replicas in segment.parts for entry in replicas] for segment in segments] == [
        [EAST],
        [WEST],
    ]
    both = find_runs(catalog, **TAS, by=("experiment_id", "member_id"), source_id="CESM2")
    assert len(both) == 2
    with pytest.raises(MissingEntries, match=r"has no run of .*member_id=r9 is missing"):
        find_runs(catalog, **TAS, experiment_id="ssp245", member_id=["r1i1p1f1", "r9"])
    with pytest.raises(MissingEntries, match="lacks 2019"):
        find_runs(catalog, **TAS, experiment_id="ssp245", time=("2015", "2019"))
    with pytest.raises(MissingEntries, match="lacks 2014"):
        find_runs(catalog, **TAS, experiment_id="ssp245", time=("2014", "2016"))
    with pytest.raises(MissingEntries, match="historical' itself"):
        find_runs(catalog, **TAS, experiment_id="historical", with_parent=True)
    with pytest.raises(AmbiguousEntries, match="member_id: r1i1p1f2, r2i1p1f2"):
        find_runs(catalog, **TAS, by=("source_id",), experiment_id="ssp245")
    with pytest.raises(CatalogError, match="has no ensemble"):
        find_runs(catalog, **TAS, by=("ensemble",), experiment_id="ssp245")
