"""Reports of real results: everything is on the page, nothing is loaded, and hostile text stays text."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import dagster as dg
import pytest
import xarray as xr

from infra.rehearsal.servers.s3_server import S3Server
from tests.jobs.lab import Project
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.climate.drawing import plots
from xdask_pipelines.errors import MissingEntries, XdaskError
from xdask_pipelines.operations.materialize import materialize
from xdask_pipelines.operations.records.written_report import report_result
from xdask_pipelines.resources import io_manager
from xdask_pipelines.resources.io_manager import Result
from xdask_pipelines.topology import Topology

XDASK = Path(sys.executable).with_name("xdask")
ANALYSES = '''
import dagster as dg
import xarray as xr
from pydantic import Field
from xdask_pipelines.assets import Source, analysis
from xdask_pipelines.climate import regrid

MODEL = Source("models", {"member_id": "r1i1p1f2", "variable_id": "tas"})


class Baseline(dg.Config):
    baseline: str = Field("ar6-recent", description="Named period.")


@analysis(sources={"tas": MODEL}, units="K")
def reported_map(tas: xr.DataArray, config: Baseline) -> xr.DataArray:
    """A map of <script>alert(1)</script> & more, K.

    On a coarser grid; `code` stays as it is.
    """
    return regrid(tas.mean("time"), [60.0, 20.0, -20.0, -60.0], [0.0, 90.0, 180.0, 270.0]).assign_attrs(units="K")


@analysis(units="1")
def reported_share(reported_map: xr.DataArray) -> xr.DataArray:
    """Share of cells above 280 K."""
    return (reported_map > 280).mean().assign_attrs(units="1")


@analysis(units="K")
def reported_line(reported_map: xr.DataArray) -> xr.DataArray:
    """Zonal means, K."""
    return reported_map.mean("lon").assign_attrs(units="K")


@analysis(units="K")
def never_computed(reported_map: xr.DataArray) -> xr.DataArray:
    """Nothing yet."""
    return reported_map
'''


@pytest.fixture(scope="module")
def reported(project: Project) -> Project:
    """The project with results to report."""
    (project.topology.root / "analyses" / "reported.py").write_text(ANALYSES)
    for name in ("reported_map", "reported_share", "reported_line"):
        materialize(project.topology, name)
    return project


class Elements(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_of_a_map_says_everything_and_loads_nothing(reported: Project, tmp_path: Path) -> None:
    address = report_result(reported.topology, "reported_map", folder=str(tmp_path))
    page = Elements(Path(address).read_text())
    text = " ".join(page.text)
    assert not page.tags & {"script", "iframe", "object", "embed", "link", "form", "base"}
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert len(page.addresses) == 1
    for said in (
        "A map of <script>alert(1)</script> & more, K",
        "On a coarser grid; `code` stays as it is.",
        "area-weighted mean",
        "models ssp245 2015 to 2017",
        "ar6-recent (1995-2014)",
        "first-order conservative",
        "18 x 36, target cells 4 x 4",
        "0 elsewhere",
        "USD",
        "tracking_id",
        "@misc{models-",
        "unknown",
        "xdask run reported_map -c baseline=ar6-recent",
        "xdask reproduce us-west-2:results/reported_map/",
        "passed: The result has units",
    ):
        assert said in text, said
    assert "us-west-2:results/reported_map/" in text
    assert "svg" in page.tags


def test_a_number_is_a_number_without_units_and_a_line_is_drawn(reported: Project, tmp_path: Path) -> None:
    number = Path(report_result(reported.topology, "reported_share", folder=str(tmp_path))).read_text()
    assert re.search(r'<p class="number">0\.\d\d</p>', number)
    assert "<img" not in number
    assert "Through the results reported_map." in number
    assert "xdask run reported_map -c baseline=ar6-recent\nxdask run reported_share" in number
    line = Path(report_result(reported.topology, "reported_line", folder=str(tmp_path))).read_text()
    assert 'src="data:image/png;base64,' in line
    index = (tmp_path / "index.html").read_text()
    assert {"reported_share.html", "reported_line.html"} == set(re.findall(r'href="([^"]+)"', index))


def test_the_command_writes_into_the_default_folder_and_says_where(reported: Project) -> None:
    words = [XDASK, "report", "reported_map", "--json"]
    done = subprocess.run(words, cwd=reported.topology.root, capture_output=True, text=True, timeout=120, check=True)
    page = Path(json.loads(done.stdout)["page"])
    assert page == reported.topology.var / "reports" / "reported_map.html"
    assert page.is_file()


@pytest.mark.parametrize(
    ("name", "partition", "error", "said"),
    [
        ("never_computed", "", MissingEntries, "Not materialized yet: never_computed. Materialize"),
        ("no_such_asset", "", XdaskError, "There is no asset no_such_asset"),
        ("era5_catalog_us-east-1", "", XdaskError, "is not an analysis, so it has no stored result"),
        ("reported_map", "2011-01", XdaskError, "reported_map has no partitions; leave out 2011-01"),
        ("us-west-2:results/reported_map/x.zarr", "", XdaskError, "The catalog has no result us-west-2:results"),
    ],
)
def test_what_has_no_result_is_one_clear_error_and_writes_nothing(
    reported: Project, tmp_path: Path, name: str, partition: str, error: type[XdaskError], said: str
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        report_result(reported.topology, name, partition, str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_an_address_of_s3_is_checked(reported: Project) -> None:
    with pytest.raises(XdaskError, match="is not an S3 address"):
        report_result(reported.topology, "reported_map", folder="s3://Not A Bucket")


@pytest.fixture
def reporting(reported: Project) -> Iterator[Project]:
    """The project, whose regions.yaml names a folder of reports."""
    file = reported.topology.root / "regions.yaml"
    before = file.read_text()
    file.write_text(before + "\nreports: {folder: pages of results}\n")
    try:
        yield Project(Topology.load(file), reported.pools)
    finally:
        file.write_text(before)


def test_a_page_is_written_after_each_materialization_if_the_project_says_so(reporting: Project) -> None:
    folder = reporting.topology.root / "pages of results"
    assert not folder.exists()
    materialize(reporting.topology, "reported_share")
    text = " ".join(Elements((folder / "reported_share.html").read_text()).text)
    assert "passed: The result has units" in text
    assert "reported_share.html" in (folder / "index.html").read_text()


def test_a_page_that_cannot_be_written_is_a_warning_of_a_run_that_succeeds(
    reporting: Project, history: dg.DagsterInstance
) -> None:
    folder = reporting.topology.root / "pages of results"
    shutil.rmtree(folder, ignore_errors=True)
    folder.touch()
    try:
        done = materialize(reporting.topology, "reported_share")
    finally:
        folder.unlink()
    assert set(done["checks"].values()) == {"passed"}
    said = [record.event_log_entry for record in history.get_records_for_run(done["run_id"]).records]
    (warning,) = [e for e in said if "The report of reported_share was not written" in e.user_message]
    assert warning.level == logging.WARNING
    assert "Not a directory" in warning.user_message or "File exists" in warning.user_message


def test_a_page_is_written_into_a_bucket(reported: Project, bucket: Callable[[str], str], s3: S3Server) -> None:
    address = bucket("") + "/pages"
    page = report_result(reported.topology, "reported_line", folder=address)
    assert page == f"{address}/reported_line.html"
    name = address.split("/")[2]
    keys = {each["Key"] for each in s3.client().list_objects_v2(Bucket=name)["Contents"]}
    assert keys == {"pages/reported_line.html", "pages/index.html"}


def test_a_picture_has_the_name_of_the_result_and_not_that_of_its_input(
    reported: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def note(field: xr.DataArray, *_: str | None) -> bytes:
        drawn.append(str(field.attrs.get("long_name")))
        return b"png"

    (entry,) = open_catalog(reported.topology.catalog_url).search(dataset="reported_map")
    variables = {"x": {"attrs": {"long_name": "name of the input"}}}
    source = replace(entry, header={**(entry.header or {}), "variables": variables})
    monkeypatch.setattr(plots, "draw", note)
    for name in ("name of the input", "name of its own"):
        field = xr.DataArray([1.0, 2.0], dims="x", attrs={"long_name": name, "units": "1"})
        io_manager._picture("an_asset", Result({}, sources=(source,)), field, "", reported.topology.var / "p", "r")
    assert drawn == ["an asset", "name of its own"]
