"""Ranges of partitions, faults that block, and two processes at once."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from tests.jobs.lab import Project
from xdask_pipelines.assets.upkeep import collect_results
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.climate import time_weighted_mean
from xdask_pipelines.errors import AccessError, XdaskError
from xdask_pipelines.operations.planning import plan_asset
from xdask_pipelines.operations.project import run_assets
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.resources.results import Results


def results_of(project: Project) -> Results:
    return Results(project.topology, open_catalog(project.topology.catalog_url), project.pools)


def plain_sum(project: Project, month: int) -> tuple[np.ndarray, int]:
    file = project.data("us-east-1") / f"hourly/2011/{month:02}/data/air_temperature_at_2_metres.nc"
    with xr.open_dataset(file, decode_times=False, engine="netcdf4") as dataset:
        values = dataset["air_temperature_at_2_metres"].values
    return values.sum(axis=0, dtype=np.float64), len(values)


def test_a_range_of_months_is_one_store_with_an_entry_each(project: Project, history) -> None:
    run_assets(project.topology, project.pools, history, ["hourly_mean"], partitions=["2011-01", "2011-02", "2011-03"])
    results = results_of(project)
    entries = results.find("hourly_mean", ["2011-01", "2011-02", "2011-03"])
    assert len({e.key for e in entries}) == 1
    opened = results.open(entries)
    (computed,), evidence = project.pools.compute(opened)
    for i, month in enumerate((1, 2, 3)):
        total, count = plain_sum(project, month)
        assert (computed["sum"].values[i] == total).all()
        assert (computed["count"].values[i] == count).all()
    assert set(evidence.tasks_by_region) == {"us-east-1"}


def test_a_mean_over_months_weighs_hours_and_needs_every_month(project: Project, history) -> None:
    run_assets(project.topology, project.pools, history, ["hourly_mean"], partitions=["2011-01", "2011-02", "2011-03"])
    with pytest.raises(XdaskError, match=r"hourly_mean are not materialized: 2011-04\. Materialize"):
        run_assets(project.topology, project.pools, history, ["hourly_long_mean"])
    run_assets(project.topology, project.pools, history, ["hourly_mean"], partitions=["2011-04"])
    run_assets(project.topology, project.pools, history, ["hourly_long_mean"])
    results = results_of(project)
    sums = [plain_sum(project, month) for month in (1, 2, 3, 4)]
    expected = sum(s for s, _ in sums) / sum(n for _, n in sums)
    (mean,), _ = project.pools.compute(results.open(results.find("hourly_long_mean")))
    np.testing.assert_allclose(mean.values, expected, rtol=0, atol=1e-10)


MONTHS = ["2011-01", "2011-02", "2011-03", "2011-04"]


def test_months_are_steps_of_time_for_what_follows(project: Project, history) -> None:
    """They carry bounds, whether they were stored together or not."""
    run_assets(project.topology, project.pools, history, ["hourly_mean"], partitions=MONTHS[:3])
    run_assets(project.topology, project.pools, history, ["hourly_mean"], partitions=MONTHS[3:])
    run_assets(project.topology, project.pools, history, ["hourly_series"])
    results = results_of(project)
    (series,), evidence = project.pools.compute(results.open(results.find("hourly_series")))
    assert evidence.misplaced_tasks == 0
    assert [str(each)[:10] for each in series.time.values] == [f"{month}-01" for month in MONTHS]
    for i, month in enumerate((1, 2, 3, 4)):
        total, count = plain_sum(project, month)
        np.testing.assert_allclose(series.values[i], total / count, rtol=0, atol=1e-10)
    hours = [plain_sum(project, month)[1] for month in (1, 2, 3, 4)]
    days = [
        (upper - lower).days for lower, upper in zip(series.time_lower.values, series.time_upper.values, strict=True)
    ]
    assert days == [31, 28, 31, 30]
    weighted = time_weighted_mean(series)
    expected = np.average(series.values, axis=0, weights=days)
    np.testing.assert_allclose(weighted.values, expected, rtol=0, atol=1e-10)
    assert sum(hours) == 24 * sum(days)


def test_steps_of_time_inside_partitions_are_one_series(project: Project, history) -> None:
    for months in (MONTHS[:2], MONTHS[2:3], MONTHS[3:]):
        run_assets(project.topology, project.pools, history, ["hourly_days"], partitions=months)
    run_assets(project.topology, project.pools, history, ["hourly_warmest_day"], partitions=MONTHS)
    run_assets(project.topology, project.pools, history, ["hourly_warmest"])
    results = results_of(project)
    (days, february, warmest), _ = project.pools.compute(
        results.open(results.find("hourly_days", MONTHS)),
        results.open(results.find("hourly_days", ["2011-02"])),
        results.open(results.find("hourly_warmest")),
    )
    assert days.sizes["time0"] == 31 + 28 + 31 + 30
    assert [str(days.time0.values[i])[:10] for i in (0, 31, 119)] == ["2011-01-01", "2011-02-01", "2011-04-30"]
    assert (february.values == days.values[31:59]).all()
    with xr.open_dataset(
        project.data("us-east-1") / "hourly/2011/02/data/air_temperature_at_2_metres.nc", engine="netcdf4"
    ) as file:
        hourly = file["air_temperature_at_2_metres"].astype("float64").values
    np.testing.assert_allclose(february.values[3], hourly[72:96].mean(axis=0), rtol=1e-6)
    assert (warmest["days"].values == days.max("time0").values).all()
    assert (warmest["months"].values == warmest["days"].values).all()


def test_partitions_of_different_forms_are_one_clear_error(project: Project, history) -> None:
    """As after a change of code that keeps time, of which only some months have been computed since."""
    for name in ("hourly_mean", "hourly_days"):
        run_assets(project.topology, project.pools, history, [name], partitions=MONTHS[:2])
    results = results_of(project)
    (sums, _), (_, days) = (results.find(name, MONTHS[:2]) for name in ("hourly_mean", "hourly_days"))
    with pytest.raises(
        AccessError, match=r"2011-01 and 2011-02 of hourly_mean .*xdask run hourly_mean --partition 2011-01"
    ):
        results.open([sums, days])


@pytest.mark.parametrize(
    ("month", "message"),
    [
        ("2011-04", r"does not have.*2011-04"),
        ("2011-05", r"faulty: 743 of 744 h of 2011-05 have data\..*xdask sync"),
        ("2011-06", r"degC.*not 'K'"),
        ("2011-07", r"does not have.*2011-07"),
    ],
)
def test_a_faulty_month_is_refused_with_its_remedy(project: Project, history, month: str, message: str) -> None:
    with pytest.raises(XdaskError, match=message):
        run_assets(project.topology, project.pools, history, ["faulty_mean"], partitions=[month])
    # What a check refuses is withdrawn: nobody takes it for the current result.
    assert open_catalog(project.topology.catalog_url).search(dataset="faulty_mean", superseded=True) == []


def test_of_a_range_only_the_faulty_month_is_withdrawn(project: Project, history) -> None:
    with pytest.raises(XdaskError, match=r"2011-05: mixed: 743 of 744 h of 2011-05 have data"):
        run_assets(project.topology, project.pools, history, ["mixed_mean"], partitions=["2011-04", "2011-05"])
    kept = open_catalog(project.topology.catalog_url).search(dataset="mixed_mean", superseded=True)
    assert [e.part for e in kept] == ["2011-04"]


@pytest.mark.parametrize(
    ("asset", "asked", "message"),
    [
        ("hourly_mean", {"partitions": ["2013-01"]}, "has no partition 2013-01. It has 2011-01 to 2011-07."),
        ("hourly_mean", {"partitions": ["bad"]}, "has no partition bad. It has 2011-01 to 2011-07."),
        ("hourly_mean", {}, "is partitioned. It has 2011-01 to 2011-07; choose one with --partition."),
        ("hourly_long_mean", {"partitions": ["2011-01"]}, "has no partitions; leave out 2011-01."),
        ("hourly_long_mean", {"configs": {"hourly_long_mean": {"n": 1}}}, "has no config value n. It takes none."),
        (
            "cmip6_predicted_tas_regridded",
            {"configs": {"cmip6_predicted_tas_regridded": {"experiment": "E1"}}},
            "has no config value experiment. There is experiment_id",
        ),
        ("nosuch", {}, "There is no asset nosuch. There are .*hourly_mean"),
    ],
)
def test_a_wrong_request_is_refused_with_what_there_is(project: Project, history, asset, asked, message) -> None:
    with pytest.raises(XdaskError, match=message):
        run_assets(project.topology, project.pools, history, [asset], **asked)


def test_what_the_checks_would_refuse_is_refused_by_the_plan_as_far_as_it_is_known(project: Project) -> None:
    with pytest.raises(XdaskError, match=r"A run of faulty_mean would compute.*2011-06: .*is in 'degC', not 'K'"):
        plan_asset(project.topology, "faulty_mean", ["2011-06"])
    with pytest.raises(XdaskError, match=r"2011-05: faulty: 743 of 744 h of 2011-05 have data"):
        plan_asset(project.topology, "faulty_mean", ["2011-05"])
    some = plan_asset(project.topology, "mixed_mean", ["2011-04", "2011-05"])
    assert [w for w in some.warnings if "743 of 744" in w and w.startswith("2011-05: ")], "the other month is kept"
    assert plan_asset(project.topology, "mixed_mean", ["2011-04"]).warnings == ()


def test_a_plan_is_of_the_partitions_that_a_run_would_take(project: Project) -> None:
    with pytest.raises(XdaskError, match=r"has no partition 2011-01-01\. It has 2011-01 to 2011-07\."):
        plan_asset(project.topology, "hourly_mean", ["2011-01-01"])
    late, all_months = (plan_asset(project.topology, name) for name in ("hourly_late", "hourly_mean"))
    assert late == plan_asset(project.topology, "hourly_late", ["2011-03", "2011-04"])
    assert 2 * sum(late.reading_tasks_by_region.values()) < sum(all_months.reading_tasks_by_region.values()) + 8


def test_an_error_in_an_own_function_names_its_line(project: Project, history) -> None:
    for attempt in (
        lambda: run_assets(project.topology, project.pools, history, ["hourly_broken"]),
        lambda: plan_asset(project.topology, "hourly_broken"),
    ):
        with pytest.raises(XdaskError, match=r"no such thing.*analyses/hourly\.py, line \d+") as caught:
            attempt()
        assert len(str(caught.value).splitlines()) == 1


def test_a_truncated_file_is_quarantined_with_its_reason(project: Project) -> None:
    (synced,) = sync_datasets(project.topology, ["faulty"])
    ((key, reason),) = synced["quarantined"].items()
    assert "2011/07" in key
    assert "truncated" in reason


TWO = """
import sys
from xdask_pipelines.operations.project import instance, run_assets
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.topology import find_topology

if __name__ == "__main__":
    topology = find_topology()
    pools = LocalPools(topology)
    with instance(topology) as history:
        done = run_assets(topology, pools, history, ["hourly_mean"], partitions=sys.argv[1:])
    print(done.run_id, done.metadata["hourly_mean"]["misplaced_tasks"])
    pools.close()
"""


def test_two_processes_materialize_same_and_different_months_at_once(project: Project, tmp_path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    wanted = [["2011-01", "2011-02", "2011-03"], ["2011-02", "2011-03", "2011-04"]]
    started = [
        subprocess.Popen([sys.executable, script, *months], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for months in wanted
    ]
    said = [process.communicate(timeout=120) for process in started]
    assert [p.returncode for p in started] == [0, 0], said
    runs = [out.split()[0] for out, _ in said]
    catalog = open_catalog(project.topology.catalog_url)
    for run_id, months in zip(runs, wanted, strict=True):
        own = catalog.search(dataset="hourly_mean", run_id=run_id, superseded=True)
        assert sorted(e.part for e in own) == months
    results = results_of(project)
    months = ["2011-01", "2011-02", "2011-03", "2011-04"]
    (computed,), _ = project.pools.compute(results.open(results.find("hourly_mean", months)))
    for i, month in enumerate((1, 2, 3, 4)):
        assert (computed["sum"].values[i] == plain_sum(project, month)[0]).all()


def test_stores_that_no_entry_names_are_removed_when_they_are_old(project: Project) -> None:
    results = results_of(project)
    named = {e.key for e in results.catalog.search(layout="result", superseded=True)}
    assert named
    stores = {r: project.topology.results_folder(r) / "results" for r in project.topology.regions}
    for folder in stores.values():
        (folder / "abandoned" / "x.zarr" / "t").mkdir(parents=True)
        (folder / "abandoned" / ".x.zarr.token").write_text("of a run that failed")
        (folder / "abandoned" / "x.zarr" / "t" / "c").write_bytes(bytes(1000))
    young = collect_results(results)
    assert all(not seen.removed for seen in young.values())
    assert young["us-east-1"].young >= 1
    old = collect_results(results, grace_seconds=0)
    assert "results/abandoned/x.zarr" in old["us-east-1"].removed
    assert old["us-east-1"].removed_bytes >= 1000
    assert not list((stores["us-east-1"] / "abandoned").iterdir())
    for region, folder in stores.items():
        there = {f"results/{p.relative_to(folder).as_posix()}" for p in folder.glob("*/*.zarr")}
        if old[region].named:
            assert there == {e.key for e in results.catalog.search(layout="result", region=region, superseded=True)}
        else:  # a catalog that knows none of the stores is not the one to ask
            assert not old[region].removed
            assert "results/abandoned/x.zarr" in there
