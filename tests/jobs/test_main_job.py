"""The main job on real input: figures, evidence, reuse, and what a changed file changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import dagster as dg
import h5py
import pytest
import xarray as xr

from tests.jobs.lab import Project
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.operations.demo import configs_of, run_demo

ERA5 = "era5-pds/2026/03/data/air_temperature_at_2_metres.nc"


@pytest.fixture(scope="module")
def report(project: Project) -> dict:
    return run_demo(project.topology, project.pools, configs_of(project.topology, None, "A1B"))


def test_figures_are_those_of_exact_arithmetic(report: dict) -> None:
    assert report["mean_difference_K"] == pytest.approx(3.3986, abs=2e-4)
    assert report["climate_signal_K"] == pytest.approx(4.4051, abs=2e-4)
    assert report["model_bias_K"] + report["climate_signal_K"] == pytest.approx(report["mean_difference_K"], abs=1e-9)
    assert report["nan_cells"] == 0


def test_everything_ran_at_home_and_little_crossed(report: dict) -> None:
    assert report["misplaced_tasks"] == 0
    assert set(report["tasks_by_region"]) == {"us-east-1", "us-west-2"}
    assert 0 < sum(report["bytes_across"].values()) <= 500_000
    assert report["bytes_read_by_region"]["us-east-1"] >= 2_517_092
    assert not report["bytes_across"].get("eu-west-2->us-east-1")


def test_report_and_map_are_files(report: dict, project: Project) -> None:
    written = json.loads((project.topology.var / "demo" / "report.json").read_text())
    assert written["mean_difference_K"] == report["mean_difference_K"]
    assert Path(report["map"]).read_bytes().startswith(b"\x89PNG")


def test_an_excerpt_warns_and_says_so(report: dict) -> None:
    assert "24 of 744 h" in report["excerpt"]
    assert any("24 of 744" in warning for warning in report["warnings"])


def test_results_lie_at_home_and_are_catalogued(report: dict, project: Project) -> None:
    catalog = open_catalog(project.topology.catalog_url)
    homes = {
        "era5_monthly_mean": "us-east-1",
        "era5_historic_temp_regridded": "us-east-1",
        "cmip6_predicted_tas_regridded": "us-west-2",
        "climate_signal": "us-west-2",
        "temperature_difference": "eu-west-2",
        "model_bias": "eu-west-2",
    }
    for asset, region in homes.items():
        (entry,) = catalog.search(dataset=asset)
        assert entry.region == region
        assert (project.topology.results_folder(region) / entry.key / "zarr.json").is_file()


def test_every_result_and_the_command_line_link_to_the_regions_of_the_dashboard(
    report: dict, project: Project, history
) -> None:
    event = history.get_latest_materialization_event(dg.AssetKey("temperature_difference"))
    link = event.asset_materialization.metadata["dashboard"]
    assert isinstance(link, dg.UrlMetadataValue)
    assert link.url == project.pools.dashboard
    assert link.url.startswith("http://127.0.0.1:")
    assert link.url.endswith("/regions")
    xdask = Path(sys.executable).with_name("xdask")
    asked = [subprocess.check_output([xdask, "pools", "status", *words], text=True) for words in ([], ["--json"])]
    assert f"dashboard {link.url}\n" in asked[0]
    assert json.loads(asked[1])["dashboard"] == link.url
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(link.url, timeout=20) as page:
        assert b"Regions" in page.read()


def test_stored_result_opens_with_plain_xarray(report: dict, project: Project) -> None:
    (entry,) = open_catalog(project.topology.catalog_url).search(dataset="temperature_difference")
    with xr.open_zarr(project.topology.results_folder(entry.region) / entry.key, consolidated=False) as stored:
        assert stored["temperature_difference"].sizes == {"lat": 145, "lon": 192}
        assert stored["temperature_difference"].attrs["units"] == "K"


def test_a_second_run_reads_nothing_and_reuses_all(report: dict, project: Project) -> None:
    again = run_demo(project.topology, project.pools, configs_of(project.topology, None, "A1B"))
    assert again["bytes_read_by_region"] == {}
    assert again["ran_assets"] == []
    assert len(again["reused_assets"]) == 7
    assert again["mean_difference_K"] == report["mean_difference_K"]
    assert again["digest"] == report["digest"]


def test_another_scenario_runs_only_what_depends_on_it(report: dict, project: Project) -> None:
    e1 = run_demo(project.topology, project.pools, configs_of(project.topology, None, "E1"))
    assert e1["mean_difference_K"] == pytest.approx(1.1177, abs=2e-4)
    assert e1["ran_assets"] == ["cmip6_predicted_tas_regridded", "temperature_difference", "climate_signal"]
    run_demo(project.topology, project.pools, configs_of(project.topology, None, "A1B"))


def test_a_warmer_file_changes_only_what_depends_on_it(report: dict, project: Project) -> None:
    file = project.data("us-east-1") / ERA5
    kept = file.read_bytes()
    try:
        with h5py.File(file, "r+") as era5:
            era5["air_temperature_at_2_metres"][...] += 1.0
        warmer = run_demo(project.topology, project.pools, configs_of(project.topology, None, "A1B"))
    finally:
        file.write_bytes(kept)
    assert report["mean_difference_K"] - warmer["mean_difference_K"] == pytest.approx(1.0, abs=1e-4)
    assert warmer["ran_assets"] == [
        "era5_monthly_mean",
        "era5_historic_temp_regridded",
        "temperature_difference",
        "model_bias",
    ]
    assert warmer["digest"] != report["digest"]
    restored = run_demo(project.topology, project.pools, configs_of(project.topology, None, "A1B"))
    assert restored["mean_difference_K"] == report["mean_difference_K"]


def test_a_file_that_changed_after_its_sync_is_refused(report: dict, project: Project, history) -> None:
    from xdask_pipelines.errors import XdaskError
    from xdask_pipelines.operations.project import run_assets

    file = project.data("us-east-1") / ERA5
    copy = file.with_suffix(".kept")
    shutil.copy2(file, copy)
    try:
        with h5py.File(file, "r+") as era5:
            era5.attrs["touched"] = "yes"
        with pytest.raises(XdaskError, match=r"changed after it was catalogued.*xdask sync"):
            run_assets(project.topology, project.pools, history, ["era5_monthly_mean"], partitions=["2026-03"])
    finally:
        copy.replace(file)
