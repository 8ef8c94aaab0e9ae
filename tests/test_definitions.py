"""The shape of what the UI shows: assets, checks, schedule; and that it loads with nothing there yet."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from xdask_pipelines.build import build_definitions
from xdask_pipelines.checks import NAMES
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import Topology

REPO = Path(__file__).parents[1]


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    shutil.copy(REPO / "regions.yaml", tmp_path)
    return Topology.load(tmp_path / "regions.yaml")


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
        "era5__us_east_1__lustre": [],
        "cmip6__us_west_2__lustre": [],
        "era5__us_east_1__catalog": ["era5__us_east_1__lustre"],
        "cmip6__us_west_2__catalog": ["cmip6__us_west_2__lustre"],
        "published_catalogs": ["cmip6__us_west_2__catalog", "era5__us_east_1__catalog"],
        "results_stores": [],
        "era5_monthly_mean": ["era5__us_east_1__catalog"],
        "era5_historic_temp_regridded": ["cmip6__us_west_2__catalog", "era5_monthly_mean"],
        "cmip6_predicted_tas_regridded": ["cmip6__us_west_2__catalog"],
        "cmip6_reference_tas_regridded": ["cmip6__us_west_2__catalog"],
        "temperature_difference": ["cmip6_predicted_tas_regridded", "era5_historic_temp_regridded"],
        "model_bias": ["cmip6_reference_tas_regridded", "era5_historic_temp_regridded"],
        "climate_signal": ["cmip6_predicted_tas_regridded", "cmip6_reference_tas_regridded"],
    }


def test_every_analysis_has_blocking_checks(topology: Topology) -> None:
    graph = build_definitions(topology).resolve_asset_graph()
    checks: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        checks.setdefault(key.asset_key.to_python_identifier(), set()).add(key.name)
        assert graph.get_check_spec(key).blocking
    assert checks.pop("climate_signal") == {*NAMES, "bias_plus_signal_is_difference"}
    assert len(checks) == 6
    assert all(names == set(NAMES) for names in checks.values())


def test_sync_runs_every_night_at_midnight_utc(topology: Topology) -> None:
    (schedule,) = build_definitions(topology).schedules
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 0 * * *", "UTC")


def test_resources_can_be_overridden_by_name_and_no_other(topology: Topology) -> None:
    pools = object()
    assert build_definitions(topology, {"pools": pools}).resources["pools"] is pools
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"no such resource to override: pool$"):
        build_definitions(topology, {"pool": pools})


def test_own_analyses_are_found_and_a_broken_one_is_named(topology: Topology) -> None:
    folder = topology.root / "analyses"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from xdask_pipelines.assets import analysis\n@analysis()\ndef mine(climate_signal):\n    return climate_signal\n"
    )
    keys = {k.to_python_identifier() for k in build_definitions(topology).resolve_all_asset_keys()}
    assert "mine" in keys
    (folder / "broken.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(XdaskError, match=r"broken\.py cannot be loaded: ModuleNotFoundError"):
        build_definitions(topology)


def test_two_own_analyses_of_one_name_are_refused(topology: Topology) -> None:
    folder = topology.root / "analyses"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(
            "from xdask_pipelines.assets import analysis\n@analysis()\ndef same(model_bias):\n    return model_bias\n"
        )
    with pytest.raises(XdaskError, match="both define the asset same"):
        build_definitions(topology)


def test_floors_import_downwards_only() -> None:
    floors = [
        {"topology", "stanzas", "errors", "names", "strict_yaml", "aws_facts", "path_pattern"},
        {"placement", "catalog", "lustre", "climate"},
        {"access"},
        {"resources"},
        {"assets", "checks", "partitions", "schedules"},
    ]
    script = (
        "import sys, importlib, pkgutil, xdask_pipelines as x\n"
        "name = sys.argv[1]\n"
        "module = importlib.import_module(f'xdask_pipelines.{name}')\n"
        "for each in pkgutil.walk_packages(getattr(module, '__path__', []), module.__name__ + '.'):\n"
        "    importlib.import_module(each.name)\n"
        "print(' '.join(sorted({m.split('.')[1] for m in sys.modules if m.startswith('xdask_pipelines.')})))\n"
        "print('dagster' in sys.modules)\n"
    )
    below: set[str] = set()
    for level, floor in enumerate(floors[:3]):
        for name in sorted(floor):
            done = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=True)
            loaded, dagster = done.stdout.splitlines()
            allowed = below | {name} | (floor if level == 0 else set())
            assert set(loaded.split()) <= allowed, f"{name} imports {set(loaded.split()) - allowed}"
            assert dagster == "False"
        below |= floor
