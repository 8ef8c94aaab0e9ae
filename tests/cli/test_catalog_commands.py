"""Commands that show the catalog and the assets: any facet is a filter, and an empty answer says what could be asked."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from tests.support.catalog_helpers import cmip6, era5
from xdask_pipelines.catalog import Change, Entry, open_catalog
from xdask_pipelines.cli import main
from xdask_pipelines.operations.project import instance
from xdask_pipelines.topology import Topology

REGIONS = """
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets: [{name: obs, layout: generic, mount: obs, pattern: "{model}/{year}/{variable}_{year}{month}.nc"}]
"""
ODD = "obs/a b%20\nc/2011/tas_201103.nc"


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    """Three months of one model; the last one's folder has a name with a newline."""
    (tmp_path / "regions.yaml").write_text(REGIONS)
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    made = Topology.load(tmp_path / "regions.yaml")
    open_catalog(made.catalog_url).commit(
        Change(
            era5(
                f"2011-0{month}",
                "tas",
                dataset="obs",
                layout="generic",
                key=ODD if month == 3 else f"obs/HadOBS/2011/tas_20110{month}.nc",
                facets={"model": "HadOBS", "member": "one", "variable": "tas", "year": "2011", "month": f"0{month}"},
            )
            for month in (1, 2, 3)
        )
    )
    return made


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.mark.usefixtures("topology")
def test_a_facet_of_an_own_pattern_is_a_filter_by_its_own_name():
    assert "3 entries" in run("catalog", "search", "--model", "HadOBS").output
    assert "3 entries" in run("catalog", "search", "--member=one").output
    assert "No entry has experiment_id" in run("catalog", "search", "--experiment", "A1B").output


def test_where_no_entry_has_such_a_facet_experiment_means_experiment_id(topology: Topology):
    open_catalog(topology.catalog_url).commit(
        Change([cmip6(member) for member in ("r1i1p1f1", "r2i1p1f1", "r3i1p1f1")])
    )
    assert "3 entries" in run("catalog", "search", "--experiment", "ssp245").output
    assert "1 entry" in run("catalog", "search", "--experiment=ssp245", "--member_id", "r2i1p1f1").output
    assert "6 entries" in run("catalog", "search", "--dataset", "cmip6", "--dataset", "obs").output


@pytest.mark.usefixtures("topology")
def test_facets_are_counted_in_a_time_too():
    done = run("catalog", "facets", "--dataset", "obs", "--time", "2011-02", "2011-05")
    assert "month            02 (1), 03 (1)\n" in done.output


@pytest.mark.usefixtures("topology")
def test_who_finds_nothing_is_told_what_there_is():
    misspelt = run("catalog", "search", "--dataset", "obss").output
    assert misspelt == "0 entries. With the other conditions, available values of dataset are obs.\n"
    assert "available values of model are HadOBS" in run("catalog", "facets", "--model", "HadOBSS").output
    late = run("catalog", "search", "--model", "HadOBS", "--time", "2012-01", "2012-02").output
    assert late == "0 entries. It has 3 of these, 2011-01 until before 2011-04.\n"


def test_who_asks_an_empty_catalog_is_told_to_sync(topology: Topology):
    (topology.var / "catalog.sqlite").unlink()
    assert (
        run("catalog", "search").output
        == run("catalog", "facets").output
        == "0 entries. It is empty. Run `xdask sync`.\n"
    )


@pytest.mark.usefixtures("topology")
def test_an_entry_is_one_line_whatever_its_name():
    header, line, _, count = run("catalog", "search", "--month", "03").output.splitlines()
    assert header.split() == ["DATASET", "REGION", "SIZE", "TIME", "SHAPE", "KEY"]
    assert line.endswith("obs/a b%20\\nc/2011/tas_201103.nc")
    assert count == "1 entry"


def test_a_search_shows_size_time_and_shape_and_results_apart(topology: Topology):
    variables = {"tas": {"dims": ["time", "lat", "lon"], "shape": [12, 90, 180], "attrs": {}}}
    times = {"time_start": 20150101000000, "time_end": 21010101000000}
    file = cmip6(size_bytes=77_600, **times).with_header({"variables": variables})
    result = Entry(
        dataset="monthly_mean",
        region="us-west-2",
        layout="result",
        key="results/monthly_mean/1.zarr",
        format="zarr3",
        variable="tas",
        version="20261127T231318089236-run",
        part="2026-03",
        size_bytes=2_532_632,
        etag="e",
        modified_ns=1,
    )
    open_catalog(topology.catalog_url).commit(Change([file, result]))
    first, second, count = run("catalog", "search", "--region", "us-west-2").output.split("\n\n")
    assert "  77.6 kB  2015 to 2100  12 × 90 × 180  " in first
    assert first.endswith(file.key)
    assert second.splitlines()[0].split() == ["RESULT", "REGION", "SIZE", "MADE", "(UTC)", "SHAPE", "KEY"]
    assert "monthly_mean[2026-03]  us-west-2  2.5 MB  2026-11-27 23:13  -  " in second
    assert count == "2 entries\n"


def test_boxes_and_older_versions_are_filters_too(topology: Topology):
    held = open_catalog(topology.catalog_url)
    held.commit(
        Change([cmip6(version="v20190815"), cmip6(version="v20200210"), era5("2012-01", extent=(-10, 35, 30, 70))])
    )
    assert "1 entry" in run("catalog", "search", "--bbox", "-5", "40", "0", "45").output
    assert "0 entries" in run("catalog", "search", "--bbox", "100", "40", "110", "45").output
    assert "south not above north" in str(run("catalog", "facets", "--bbox", "0", "45", "10", "40").output)
    assert "1 entry" in run("catalog", "search", "--dataset", "cmip6").output
    assert "2 entries" in run("catalog", "search", "--dataset", "cmip6", "--superseded").output


@pytest.mark.usefixtures("topology")
def test_time_is_one_period_or_a_range_of_two_on_the_command_line_too():
    assert "2 entries" in run("catalog", "search", "--time", "2011-01", "2011-02").output
    assert "1 entry" in run("catalog", "search", "--time", "2011-02").output
    assert "1 entry" in run("catalog", "search", "--time=2011-02", "--model", "HadOBS").output
    assert "2 entries" in run("catalog", "search", "--time=2011-02", "2011-03", "--model", "HadOBS").output
    for words, remedy in (
        (("--time", "2011-01", "--time", "2011-03"), "--time is given twice; write it once with first and last"),
        (("--times", "2011-02"), "the filter --times does not exist; write --time 2011-02"),
        (("--time", "2011-03", "2011-01"), "ends before it starts; write --time 2011-01 2011-03"),
        (("--time",), "--time needs a value, such as --time 2026-01"),
        (("--time", "--model", "HadOBS"), "--time needs a value, such as --time 2026-01"),
        (("--time", "July"), "'July' is not a period"),
        (("--time", "2011", "July"), "not 'July'"),
    ):
        refused = run("catalog", "search", *words)
        assert isinstance(refused.exception, SystemExit)
        assert remedy in refused.output


@pytest.mark.usefixtures("topology")
@pytest.mark.parametrize(
    "words",
    [
        ("catalog", "search", "--self", "x"),
        ("catalog", "facets", "--limit", "4"),
        ("catalog", "describe", "--limit", "4"),
        ("catalog", "export", "stac", "out", "--limit", "4"),
        ("lustre", "status", "--limit", "4"),
    ],
)
def test_an_option_that_a_command_does_not_have_is_named(words: tuple[str, ...]):
    done = run(*words)
    assert isinstance(done.exception, SystemExit)
    assert f"no option {words[-2]}" in done.output


def test_one_entry_is_shown_with_header_units_time_and_shape(topology: Topology):
    described = cmip6().with_header(
        {
            "time_range": [20150101000000, 21010101000000],
            "steps": 1032,
            "variables": {
                "tas": {
                    "dims": ["time", "lat"],
                    "shape": [1032, 90],
                    "attrs": {"units": "K", "standard_name": "air_temperature\x1b[31m"},
                }
            },
        }
    )
    open_catalog(topology.catalog_url).commit(Change([described]))
    shown = run("catalog", "show", described.key).output
    assert "  time         2015-01-01 until before 2101-01-01, 1,032 steps\n" in shown
    assert "  variable     tas (time 1,032, lat 90): air_temperature\\x1b[31m, K\n" in shown
    assert "held         cmip6 in us-west-2" in shown
    assert json.loads(run("catalog", "show", described.key, "--json").output)[0]["header"]["steps"] == 1032


@pytest.mark.usefixtures("topology")
def test_what_is_not_there_is_not_shown():
    assert "no header yet" in run("catalog", "show", "obs/HadOBS/2011/tas_201101.nc").output
    done = run("catalog", "show", "obs/HadOBS/2011/tas_201101.nc", "--region", "us-west-2")
    assert done.exit_code == 1
    assert "No entry has the key obs/HadOBS/2011/tas_201101.nc in us-west-2" in done.output


def test_the_version_is_that_of_the_package():
    assert run("--version").output == f"xdask {version('xdask_pipelines')}\n"


def test_assets_are_listed_with_their_state(topology: Topology):
    with instance(topology) as history:
        evidence = {"evidence": {"tasks_by_region": {"us-east-1": 3}}}
        history.report_runless_asset_event(dg.AssetMaterialization("results_stores", metadata=evidence))
    found = {each["asset"]: each for each in json.loads(run("list", "--json").output)}
    assert found["results_stores"]["regions"] == ["us-east-1"]
    assert found["results_stores"]["made"]
    assert found["results_stores"]["state"] == "made"
    assert found["published_catalogs"]["made"] is None
    assert found["published_catalogs"]["state"] == "never made"
    assert found["obs_catalog_us-east-1"]["regions"] == ["us-east-1"]
    assert found["obs_catalog_us-east-1"]["group"] == "datasets"
    lines = run("list").output.splitlines()
    assert lines[0].split() == ["ASSET", "STATE", "MADE", "(UTC)", "REGIONS", "DESCRIPTION"]
    assert any(line.startswith("published_catalogs ") and " never made " in line for line in lines)
