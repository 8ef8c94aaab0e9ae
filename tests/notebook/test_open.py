"""The project as a notebook sees it, where something is not as it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.support.catalog_helpers import cmip6, era5
from xdask_pipelines import open_project
from xdask_pipelines.access.describing.validation import Claim
from xdask_pipelines.access.header import describe
from xdask_pipelines.catalog import Change
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.errors import (
    AccessError,
    AmbiguousEntries,
    CatalogError,
    MissingEntries,
    PlacementError,
    TopologyError,
)
from xdask_pipelines.notebook import Project
from xdask_pipelines.placement.graph.homes import homes_of

REPO = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("XDASK_TOPOLOGY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "regions.yaml").write_text((REPO / "regions.yaml").read_text())
    return tmp_path


def test_pools_that_are_down_are_one_error_with_the_command(folder: Path):
    with pytest.raises(PlacementError, match=r"The pools are not running\. Start them with `xdask pools up`"):
        open_project().compute(1)


def test_a_project_is_found_here_or_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    here = open_project()
    monkeypatch.chdir("/")
    with pytest.raises(TopologyError, match=r"The topology file .* does not exist"):
        open_project()
    assert open_project(str(folder / "regions.yaml")).topology == here.topology


def test_what_is_opened_is_exactly_what_is_asked_for(folder: Path):
    project = open_project()
    project.catalog.commit(Change([cmip6("r1i1p1f1"), cmip6("r2i1p1f1"), era5("2011-01")]))
    with pytest.raises(AmbiguousEntries, match=r"Pass one value of member_id: r1i1p1f1, r2i1p1f1$"):
        project.open(dataset="cmip6", experiment_id="ssp245")
    with pytest.raises(MissingEntries, match="time=2011-02"):
        project.open(dataset="era5", variable="air_temperature", times=["2011-01", "2011-02"])
    with pytest.raises(AccessError, match="xdask catalog describe --key cmip6/"):
        project.open(dataset="cmip6", member_id="r1i1p1f1")


def store(project: Project, years: range, *, bounds: bool = False, annual: bool = False, **changes: str) -> None:
    """Catalogue a store of monthly or annual means in the middle of their cells, in a calendar of 360 days."""
    step = 360.0 if annual else 30.0
    start = np.arange(years.start * 360.0, years.stop * 360.0, step)
    time = {"units": "days since 0000-01-01", "calendar": "360_day", "standard_name": "time"}
    made = xr.Dataset(
        {"tas": (("time", "lat"), np.zeros((start.size, 2), "f4"), {"units": "K"})},
        coords={"time": ("time", start + step / 2, time), "lat": ("lat", [-45.0, 45.0])},
    )
    if bounds:
        made["time"].attrs["bounds"] = "time_bnds"
        made = made.assign_coords(time_bnds=(("time", "bnds"), np.stack([start, start + step], 1)))
    path = project.topology.root / f"{years.start}{bounds}{annual}.zarr"
    made.to_zarr(path, mode="w", zarr_format=2, consolidated=True)
    key = f"{years.start}{changes.get('region', '')}"
    project.catalog.commit(Change([cmip6(key=key, **changes).with_header(describe(path, "zarr2"))]))


@pytest.mark.parametrize("bounds", [False, True])
def test_of_a_store_that_holds_more_only_the_period_asked_for_is_opened(folder: Path, bounds: bool):
    project = open_project()
    store(project, range(2015, 2019), bounds=bounds)
    assert project.open(dataset="cmip6").sizes["time"] == 48
    for asked, months in (
        ({"time": "2016"}, [(2016, month) for month in range(1, 13)]),
        ({"time": ("2015-12", "2016-02")}, [(2015, 12), (2016, 1), (2016, 2)]),
        ({"times": ["2015-12", "2018-01"]}, [(2015, 12), (2018, 1)]),
        ({"time": ("2015", "2018")}, [(y, m) for y in range(2015, 2019) for m in range(1, 13)]),
    ):
        opened = project.open(dataset="cmip6", **asked)
        assert [(t.year, t.month) for t in opened.time.values] == months
    with pytest.raises(MissingEntries, match="time=2019 to 2020"):
        project.open(dataset="cmip6", time=("2016", "2020"))
    with pytest.raises(AccessError, match=r"cannot be limited to 2016-03-10: a step lasts from 2016-03-01 00:00:00"):
        project.open(dataset="cmip6", time="2016-03-10")
    with pytest.raises(AccessError, match="cannot be limited to 2016-03-16: a step lasts from 2016-03-01"):
        project.open(dataset="cmip6", time="2016-03-16")


@pytest.mark.parametrize("bounds", [False, True])
def test_a_year_is_not_taken_for_one_of_its_months(folder: Path, bounds: bool):
    project = open_project()
    store(project, range(2015, 2019), bounds=bounds, annual=True)
    with pytest.raises(AccessError, match="cannot be limited to 2016-07: a step lasts from 2016-01-01 00:00:00"):
        project.open(dataset="cmip6", time="2016-07")
    assert project.open(dataset="cmip6", time="2016").sizes["time"] == 1


def test_parts_of_a_range_are_opened_in_the_one_region_that_holds_all(folder: Path):
    project = open_project()
    for years in (range(2015, 2017), range(2017, 2019)):
        store(project, years, region="us-west-2")
    store(project, range(2015, 2017), region="us-east-1")
    opened = project.open(dataset="cmip6", time=("2016", "2017"))
    assert [(t.year, t.month) for t in opened.time.values] == [(y, m) for y in (2016, 2017) for m in range(1, 13)]
    assert homes_of(opened) == {"us-west-2"}


def test_of_replicas_the_one_is_opened_from_which_results_are_cheapest_to_send(folder: Path):
    project = open_project()
    project.catalog.commit(Change([era5("2011-01"), era5("2011-01", region="ap-southeast-2")]))
    text = (folder / "regions.yaml").read_text().replace("us-west-2", "ap-southeast-2")
    (folder / "regions.yaml").write_text(text)
    with pytest.raises(AccessError, match="of us-east-1:"):  # 0.02 USD a GB against 0.098
        open_project().open(dataset="era5")
    with pytest.raises(AccessError, match="of ap-southeast-2:"):
        open_project().open(dataset="era5", region="ap-southeast-2")


def _file(project: Project, month: int, *, bounds: bool) -> None:
    """Catalogue a monthly file of one step in its middle, in a path that names the month."""
    day = 30.0 * (month - 1)
    attrs = {"units": "days since 2011-01-01", "calendar": "360_day", "standard_name": "time"} | (
        {"bounds": "time_bnds"} if bounds else {}
    )
    made = xr.Dataset(
        {"air_temperature": (("time", "lat"), np.zeros((1, 2), "f4"), {"units": "K"})},
        coords={"time": ("time", [day + 15], attrs), "lat": ("lat", [-45.0, 45.0])},
    )
    if bounds:
        made = made.assign_coords(time_bnds=(("time", "bnds"), [[day, day + 30]]))
    path = project.topology.root / f"{month}{bounds}.nc"
    made.to_netcdf(path)
    claim = Claim(period=time_range(f"2011-{month:02}"))
    header = describe(path, "netcdf4", claim=claim)
    project.catalog.commit(Change([era5(f"2011-{month:02}", size_bytes=path.stat().st_size).with_header(header)]))


@pytest.mark.parametrize("bounds", [False, True])
def test_separate_periods_are_judged_file_by_file(folder: Path, bounds: bool):
    project = open_project()
    for month in (1, 3, 12):
        _file(project, month, bounds=bounds)
    opened = project.open(dataset="era5", times=["2011-01", "2011-03", "2011-12"])
    assert [t.month for t in opened.time.values] == [1, 3, 12]
    with pytest.raises(MissingEntries, match="time=2011-02"):
        project.open(dataset="era5", time=("2011-01", "2011-03"))


def test_a_day_that_the_calendar_lacks_is_named(folder: Path):
    project = open_project()
    store(project, range(2015, 2017))
    with pytest.raises((AccessError, MissingEntries), match="2016-01-31"):
        project.open(dataset="cmip6", time="2016-01-31")
    with pytest.raises(CatalogError, match="each = 'member_id' is not a mapping"):
        project.open(dataset="cmip6", each="member_id")
