"""The project as a notebook sees it, where something is not as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalog_helpers import cmip6, era5

from xdask_pipelines import open_project
from xdask_pipelines.errors import AccessError, AmbiguousEntries, MissingEntries, PlacementError, TopologyError

REPO = Path(__file__).parents[1]


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
    with pytest.raises(TopologyError, match="There is no topology file"):
        open_project()
    assert open_project(str(folder / "regions.yaml")).topology == here.topology


def test_what_is_opened_is_exactly_what_is_asked_for(folder: Path):
    project = open_project()
    project.catalog.apply([cmip6("r1i1p1f1"), cmip6("r2i1p1f1"), era5("2011-01")])
    with pytest.raises(
        AmbiguousEntries, match=r"Name one value of member_id: r1i1p1f1, r2i1p1f1\. To open several, give"
    ):
        project.open(dataset="cmip6", experiment_id="ssp245")
    with pytest.raises(MissingEntries, match="time=2011-02"):
        project.open(dataset="era5", variable="air_temperature", times=["2011-01", "2011-02"])
    with pytest.raises(AccessError, match="xdask catalog describe --key cmip6/"):
        project.open(dataset="cmip6", member_id="r1i1p1f1")


def test_of_replicas_the_one_is_opened_from_which_results_are_cheapest_to_send(folder: Path):
    project = open_project()
    project.catalog.apply([era5("2011-01"), era5("2011-01", region="ap-southeast-2")])
    text = (folder / "regions.yaml").read_text().replace("us-west-2", "ap-southeast-2")
    (folder / "regions.yaml").write_text(text)
    with pytest.raises(AccessError, match="in us-east-1"):  # 0.02 USD a GB against 0.098
        open_project().open(dataset="era5")
    with pytest.raises(AccessError, match="in ap-southeast-2"):
        open_project().open(dataset="era5", region="ap-southeast-2")
