"""The page on climate analyses: its examples run, and it names every function, asset and config value."""

from __future__ import annotations

import doctest
import linecache
import re
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.assets.analysis import analyses_of
from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.assets.climate_analyses import climate_assets
from xdask_pipelines.assets.climate_config import OneRun, Runs
from xdask_pipelines.assets.temperature import temperature_assets
from xdask_pipelines.climate import analyses
from xdask_pipelines.climate.times.baselines import BASELINES

TEXT = (Path(__file__).parents[2] / "docs" / "climate.md").read_text()
CLIMATE = analyses_of(climate_assets())


def test_the_examples_of_the_page_run() -> None:
    told: list[str] = []
    example = doctest.DocTestParser().get_doctest(TEXT, {}, "docs/climate.md", "docs/climate.md", 0)
    assert len(example.examples) > 30
    assert not [each for each in example.examples if each.options]
    assert doctest.DocTestRunner().run(example, out=told.append).failed == 0, "".join(told)


def analyses_in_file(name: str) -> dict[str, Analysis]:
    """The analyses that a file on the page defines, by name."""
    (code,) = re.findall(rf"```python\n(# analyses/{name}\.py.*?)```", TEXT, re.S)
    file, made = f"docs/climate.md {name}", {}
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    exec(compile(code, file, "exec"), made)
    return analyses_of([each for each in made.values() if isinstance(each, dg.AssetsDefinition)])


def test_scenarios_of_the_page_are_partitions_that_are_compared() -> None:
    made = analyses_in_file("scenarios")
    assert made["scenario_signal"].partition_facet == "experiment_id"
    assert made["scenarios_compared"].upstream == ("scenario_signal",)
    coords = {"lat": [45.0, -45.0], "lon": [0.0, 180.0]}
    tas, reference = (xr.DataArray(np.full((2, 2), k), coords, attrs={"units": "K"}) for k in (290.0, 287.0))
    year = tas.expand_dims(time=xr.date_range("2099", periods=1, freq="YS", use_cftime=True))
    signal = made["scenario_signal"].function(year, reference)
    assert (signal.values == 3).all()


def test_the_analysis_of_the_page_gets_months_as_time() -> None:
    made = analyses_in_file("era5_seasons")
    months = xr.date_range("2011-01", periods=24, freq="MS", use_cftime=True)
    count = xr.DataArray(months.days_in_month * 24, coords={"time": months})
    value = xr.DataArray(280.0 + months.month, coords={"time": months})
    partials = xr.Dataset({"sum": (value * count).assign_attrs(units="K"), "count": count})
    seasons = made["era5_seasons"].function(partials)
    assert float(seasons.sel(season="MAM")) == pytest.approx(280 + (3 * 31 + 4 * 30 + 5 * 31) / 92, abs=1e-12)


def test_the_page_names_every_analysis() -> None:
    months = dg.MonthlyPartitionsDefinition("2011-01", fmt="%Y-%m")
    names = {*CLIMATE, *analyses_of(temperature_assets(months))}
    functions = {f"analyses.{name}" for name in analyses.__all__} - {"analyses.Member", "analyses.has_indices"}
    table = TEXT.split("\n## ")[0]
    assert {name for name in names | functions if f"`{name}`" not in table} == set()
    assert {name for name in re.findall(r"`((?:cmip6|era5)_\w+)`", TEXT) if name not in names} == set()


def written(default: Any) -> str:
    if isinstance(default, list):
        return ", ".join(map(written, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("name", CLIMATE)
def test_the_page_has_the_config_of_an_asset_with_its_defaults(name: str) -> None:
    fields = CLIMATE[name].config_type.model_fields
    common = Runs if "source_ids" in fields else OneRun
    (row,) = re.findall(rf"^\| `{name}` \| (.*) \|$", TEXT, re.M)
    own = fields.keys() - common.model_fields.keys()
    changed = {
        key
        for key, field in common.model_fields.items()
        if fields[key].default != field.default and key not in ("variable_id", "table_id")
    }
    assert set(re.findall(r"`(\w+)`", row)) == own | changed
    for key in own | changed:
        assert f"`{key}` {written(fields[key].default)}" in row
    for key in common.model_fields:
        assert f"`{key}`" in TEXT.split("## Configs")[1]


def test_the_page_has_the_baselines() -> None:
    assert {name for name in BASELINES if f"`{name}`" not in TEXT} == set()
