"""The shape of what the UI shows: assets, checks, schedule; and that it loads with nothing there yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest

from xdask_pipelines.assets.datasets import region_tag
from xdask_pipelines.build import build_definitions
from xdask_pipelines.checks import NAMES
from xdask_pipelines.topology import Topology

REPO = Path(__file__).parents[1]


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    shutil.copy(REPO / "regions.yaml", tmp_path)
    return Topology.load(tmp_path / "regions.yaml")


CLIMATE = [
    f"cmip6_{name}"
    for name in (
        *("climatology", "anomaly", "regional_series", "trend", "warming_levels", "ensemble_change"),
        *("frost_days", "warm_days"),
    )
]


def test_code_location_loads_with_an_empty_catalog(topology: Topology) -> None:
    definitions = build_definitions(topology)
    dg.Definitions.validate_loadable(definitions)
    assert not (topology.var / "catalog.sqlite").exists()


def test_asset_graph_is_the_one_agreed(topology: Topology) -> None:
    graph = build_definitions(topology).resolve_asset_graph()
    parents = {
        key.to_python_identifier(): sorted(p.to_python_identifier() for p in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "era5_lustre_us_east_1": [],
        "cmip6_lustre_us_west_2": [],
        "era5_catalog_us_east_1": ["era5_lustre_us_east_1"],
        "cmip6_catalog_us_west_2": ["cmip6_lustre_us_west_2"],
        "published_catalogs": ["cmip6_catalog_us_west_2", "era5_catalog_us_east_1"],
        "results_stores": [],
        "era5_monthly_mean": ["era5_catalog_us_east_1"],
        "era5_historic_temp_regridded": ["cmip6_catalog_us_west_2", "era5_monthly_mean"],
        "cmip6_predicted_tas_regridded": ["cmip6_catalog_us_west_2"],
        "cmip6_reference_tas_regridded": ["cmip6_catalog_us_west_2"],
        "temperature_difference": ["cmip6_predicted_tas_regridded", "era5_historic_temp_regridded"],
        "model_bias": ["cmip6_reference_tas_regridded", "era5_historic_temp_regridded"],
        "climate_signal": ["cmip6_predicted_tas_regridded", "cmip6_reference_tas_regridded"],
        **{key: ["cmip6_catalog_us_west_2"] for key in CLIMATE},
        "cmip6_skill": ["cmip6_catalog_us_west_2", "era5_monthly_mean"],
    }


def test_every_asset_has_owner_kind_and_the_regions_of_its_data(topology: Topology) -> None:
    specs = {s.key.to_user_string(): s for s in build_definitions(topology).resolve_all_asset_specs()}
    assert all(spec.owners and spec.kinds for spec in specs.values())
    assert {name: spec.tags["xdask/region"] for name, spec in specs.items()} == {
        "era5_lustre_us-east-1": "us-east-1",
        "era5_catalog_us-east-1": "us-east-1",
        "cmip6_lustre_us-west-2": "us-west-2",
        "cmip6_catalog_us-west-2": "us-west-2",
        "published_catalogs": "us-east-1_us-west-2",
        "results_stores": "eu-west-2_us-east-1_us-west-2",
        "era5_monthly_mean": "us-east-1",
        "era5_historic_temp_regridded": "us-east-1_us-west-2",
        "cmip6_predicted_tas_regridded": "us-west-2",
        "cmip6_reference_tas_regridded": "us-west-2",
        "temperature_difference": "us-east-1_us-west-2",
        "model_bias": "us-east-1_us-west-2",
        "climate_signal": "us-west-2",
        "cmip6_skill": "us-east-1_us-west-2",
        **dict.fromkeys(CLIMATE, "us-west-2"),
    }


def test_regions_that_do_not_fit_a_tag_are_several() -> None:
    assert region_tag(()) == {}
    assert region_tag({"us-west-2", "eu-west-2"}) == {"xdask/region": "eu-west-2_us-west-2"}
    assert region_tag([f"ap-southeast-{i}" for i in range(9)]) == {"xdask/region": "several"}


def test_the_main_job_has_a_name_and_makes_what_has_no_partitions(topology: Topology) -> None:
    job = build_definitions(topology).resolve_job_def("compare_temperatures")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        *("era5_historic_temp_regridded", "cmip6_predicted_tas_regridded", "cmip6_reference_tas_regridded"),
        *("temperature_difference", "model_bias", "climate_signal"),
    }


def test_every_analysis_has_blocking_checks(topology: Topology) -> None:
    graph = build_definitions(topology).resolve_asset_graph()
    checks: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        checks.setdefault(key.asset_key.to_python_identifier(), set()).add(key.name)
        assert graph.get_check_spec(key).blocking
    assert checks.pop("climate_signal") == {*NAMES, "bias_plus_signal_is_difference"}
    assert len(checks) == 7 + len(CLIMATE)
    assert all(names == set(NAMES) for names in checks.values())


def test_sync_runs_every_night_at_midnight_utc(topology: Topology) -> None:
    (schedule,) = build_definitions(topology).schedules
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 0 * * *", "UTC")


def test_resources_can_be_overridden_by_name_and_no_other(topology: Topology) -> None:
    pools = object()
    assert build_definitions(topology, {"pools": pools}).resources["pools"] is pools
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"no such resource to override: pool$"):
        build_definitions(topology, {"pool": pools})
