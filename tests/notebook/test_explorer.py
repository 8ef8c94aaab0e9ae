"""Choosing data facet by facet, and what a selection stands for, without a browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.support.catalog_helpers import cmip6, era5
from xdask_pipelines import open_project
from xdask_pipelines.catalog import Change, open_catalog
from xdask_pipelines.climate import area_weighted_mean
from xdask_pipelines.errors import AmbiguousEntries, CatalogError, XdaskError
from xdask_pipelines.notebook import Project
from xdask_pipelines.notebook.candidates import candidate_lines, resolution_of
from xdask_pipelines.notebook.explorer import Explorer
from xdask_pipelines.notebook.facet_choice import FacetChoice
from xdask_pipelines.notebook.facet_titles import facet_title, kind_of, value_title
from xdask_pipelines.notebook.saved_selections import saved_selection
from xdask_pipelines.notebook.selection import Chosen, Selection
from xdask_pipelines.notebook.selection_asset import asset_text, save_as_asset
from xdask_pipelines.operations.planning import plan_asset

XDASK = Path(sys.executable).with_name("xdask")


@pytest.fixture(autouse=True)
def no_selections(folder: Path) -> Iterator[None]:
    yield
    for path in [*(folder / "var/selections").glob("*"), *(folder / "analyses").glob("*.py")]:
        path.unlink()


@pytest.fixture
def warm(project: Project) -> Explorer:
    """The change from before industry to A1B, of the sample's model."""
    explorer = Explorer(project, "warm")
    explorer.choose("historical", "dataset", "cmip6")
    explorer.choose("projection", "dataset", "cmip6")
    explorer.choose("projection", "experiment_id", "A1B")
    return explorer


def test_each_list_is_narrowed_by_those_before_and_a_single_value_is_chosen(tmp_path: Path) -> None:
    catalog = open_catalog(f"sqlite://{tmp_path}/c.sqlite")
    choice = FacetChoice(catalog, "projection")
    assert choice.options("dataset") == {}
    catalog.commit(
        Change(
            [
                cmip6("r1i1p1f1", "ssp245"),
                cmip6("r1i1p1f1", "ssp585"),
                cmip6("r2i1p1f1", "ssp585"),
                cmip6("r3i1p1f1", "historical"),
                era5("2011-01"),
                era5("2011-02"),
            ]
        )
    )
    assert choice.options("dataset") == {"cmip6": 3}, "the catalog is asked again"
    choice.choose("dataset", "cmip6")
    assert choice.options("experiment_id") == {"ssp245": 1, "ssp585": 2}
    assert choice.options("member_id") == {"r1i1p1f1": 2, "r2i1p1f1": 1}, "no members that only the past has"
    choice.choose("experiment_id", "ssp585")
    choice.choose("member_id", "r2i1p1f1")
    assert choice.complete
    choice.choose("experiment_id", "ssp245")
    assert choice.chosen["member_id"] == "r1i1p1f1"
    with pytest.raises(CatalogError, match=r"No projection entry has member_id 'r2i1p1f1'.*Available: r1i1p1f1"):
        choice.choose("member_id", "r2i1p1f1")
    assert choice.chosen["member_id"] == "r1i1p1f1"
    past = FacetChoice(catalog, "historical")
    assert past.options("dataset") == {"cmip6": 1, "era5": 2}
    past.choose("dataset", "era5")
    assert past.names() == ["dataset", "variable"]
    assert past.complete
    assert past.available() == ("2011-01", "2011-02")
    past.choose_period("2011-02", "")
    assert [entry.facets["month"] for entry in past.matching()] == ["02"]
    with pytest.raises(CatalogError, match="ends before it starts"):
        past.choose_period("2011-02", "2011-01")
    assert past.period == "2011-02"
    catalog.commit(Change([cmip6("r4i1p1f1", "ssp245")]))
    assert "r4i1p1f1" in choice.options("member_id")


@pytest.mark.parametrize(
    ("experiment", "kind"),
    [
        *(
            (past, "historical")
            for past in ("historical", "hist-nat", "esm-hist", "piControl", "pre-industrial", "amip", "")
        ),
        *((future, "projection") for future in ("ssp245", "A1B", "E1", "esm-ssp585", "rcp85", "abrupt-4xCO2")),
    ],
)
def test_experiments_are_of_the_past_or_projections(experiment: str, kind: str) -> None:
    assert kind_of(experiment) == kind


def test_titles_are_for_people(project: Project, warm: Explorer) -> None:
    assert facet_title("source_id") == "Model"
    assert facet_title("vertical_label") == "Vertical label"
    assert value_title("experiment_id", "ssp245", 1_200) == "ssp245: SSP2-4.5, medium emissions (1,200)"
    assert value_title("member_id", "r1", 1) == "r1 (1)"
    assert warm.options("projection", "variable") == [("tas: 1.5 m air temperature, K (2)", "tas")]


def test_a_summary_counts_and_says_what_is_missing(project: Project) -> None:
    explorer = Explorer(project)
    assert explorer.summary("projection") == "Choose a dataset."
    explorer.choose("projection", "dataset", "models")
    assert explorer.summary("projection").startswith("3 entries, ")
    assert explorer.summary("projection").endswith("in us-west-2; 2015-01 to 2016-12. Choose a value in each list.")
    with pytest.raises(XdaskError, match=r"not chosen yet\. Choose dataset"):
        explorer.selection()
    explorer.show("projection")
    with pytest.raises(XdaskError, match="Choose member_id"):
        explorer.selection()
    explorer.choose("projection", "member_id", "r2i1p1f2")
    assert explorer.summary("projection").startswith("1 entry, ")
    assert "Choose" not in explorer.summary("projection")
    with pytest.raises(XdaskError, match="cannot be shown"):
        explorer.show("future")  # type: ignore[arg-type]


def test_both_are_compared_where_they_lie(project: Project, warm: Explorer) -> None:
    planned = warm.plan()
    assert set(planned.tasks_by_region) == {"us-west-2"}
    result = warm.compute()
    assert result.dims == ("lat", "lon")
    assert result.attrs["units"] == "K"
    opened = warm.open()
    assert isinstance(opened, dict)
    expected = opened["projection"].compute() - opened["historical"].compute()
    np.testing.assert_allclose(result.values, expected.values, atol=1e-4)
    assert project.evidence.misplaced_tasks == 0
    assert warm.selection().picture(result).startswith(b"\x89PNG")


def test_a_projection_minus_a_reanalysis_is_what_the_demo_computes(project: Project) -> None:
    explorer = Explorer(project, "demo")
    explorer.choose("historical", "dataset", "era5")
    explorer.choose("projection", "dataset", "cmip6")
    explorer.choose("projection", "experiment_id", "A1B")
    result = explorer.compute()
    assert float(area_weighted_mean(result)) == pytest.approx(3.3986, abs=5e-5)
    assert set(project.evidence.tasks_by_region) == {"us-east-1", "us-west-2"}
    text = asset_text(explorer.selection(), "demo")
    assert "regrid(mean_of_partials(month_partial(historical)), projection[lat], projection[lon])" in text
    assert "# us-east-1:era5-pds" in explorer.code()


def test_code_has_a_licence_and_a_resolution_for_each_candidate_and_runs(
    project: Project, warm: Explorer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = warm.code()
    candidates = [line for line in code.splitlines() if line.startswith("# ")]
    assert len(candidates) == 2
    for line in candidates:
        assert "licence OGL-UK-3.0; 1.25 x 1.875 degrees" in line
    monkeypatch.chdir(folder)
    names: dict[str, xr.DataArray] = {}
    monkeypatch.setattr(xr.DataArray, "plot", property(lambda self: lambda: names.update(plotted=self)))
    exec(compile(code, "code", "exec"), names)
    assert names["plotted"].equals(warm.compute())
    models = Selection(project, "monthly", {"projection": Chosen("models", {"member_id": "r2i1p1f2"}, "2015")})
    assert "monthly" in models.code()
    assert "time='2015'" in models.code()
    assert "licence CC-BY-4.0" in models.code()


def test_facets_that_are_no_names_in_python_can_be_typed_again(project: Project) -> None:
    odd = Selection(project, "odd", {"projection": Chosen("models", {"member_id": "r2i1p1f2"})})
    from xdask_pipelines.notebook.selection import _arguments

    text = _arguments({"dataset": "a", "class": "x", "my facet": 'y"'})
    assert eval(f"dict({text})") == {"dataset": "a", "class": "x", "my facet": 'y"'}
    assert "r2i1p1f2" in repr(odd)
    assert "project.open" in odd._repr_html_()


def test_resolutions_are_those_of_the_coordinates(project: Project) -> None:
    (era,) = project.search(dataset="era5")
    assert resolution_of(era).endswith("hourly")
    entries = project.search(dataset="models")
    assert {resolution_of(entry) for entry in entries} == {"10 x 10 degrees, monthly"}
    assert candidate_lines(list(entries) * 10, limit=2)[-1] == "and 28 more"
    assert "resolution unknown" in candidate_lines([era5("2011-01")])[0]


def test_a_selection_opens_in_another_process_by_its_name(project: Project, warm: Explorer, folder: Path) -> None:
    warm.choose_period("projection", "2098", "2099")
    warm.choose_period("projection", "", "")
    saved = warm.selection()
    script = (
        "from xdask_pipelines import open_project\n"
        "project = open_project()\n"
        "print(project.selections(), project.selection('warm'))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"['warm'] {saved!r}"
    again = Explorer(project, "warm")
    assert again.selection().chosen == saved.chosen
    assert again.shown == "both"
    assert again.notes == []


def test_a_selection_that_the_catalog_no_longer_has_says_so(project: Project) -> None:
    gone = Chosen(
        "models", {"variable": "tas", "experiment_id": "ssp245", "member_id": "r99i1p1f2"}, ("2015-01", "2015-06")
    )
    Selection(project, "gone", {"projection": gone}).save()
    explorer = Explorer(project, "gone")
    assert explorer.notes == ["The catalog no longer has member_id r99i1p1f2 of the projection data of gone."]
    assert explorer.shown == "projection"
    assert explorer.choices["projection"].period == ("2015-01", "2015-06")


def test_bad_names_and_damaged_files_are_one_error(project: Project, folder: Path) -> None:
    chosen = {"projection": Chosen("models")}
    for name in ("", "../x", "Über", "a b", "x" * 64):
        with pytest.raises(XdaskError, match="is not the name of a selection"):
            Selection(project, name, chosen)
    with pytest.raises(XdaskError, match="has future, but needs historical or projection"):
        Selection(project, "a", {"future": Chosen("models")})
    with pytest.raises(XdaskError, match="has nothing"):
        Selection(project, "a", {})
    with pytest.raises(XdaskError, match=r"no selection 'none'\. Available: none yet"):
        saved_selection(project, "none")
    path = Selection(project, "broken", chosen).save()
    for text in ("", "[]", '{"chosen": {"projection": {}}}', '{"chosen": []}'):
        path.write_text(text)
        with pytest.raises(XdaskError, match="damaged"):
            saved_selection(project, "broken")


def test_a_saved_asset_runs_and_computes_what_the_notebook_did(project: Project, warm: Explorer, folder: Path) -> None:
    path = warm.save_as_asset()
    assert path == folder / "analyses" / "warm.py"
    assert plan_asset(project.topology, "warm").tasks_by_region.keys() == {"us-west-2"}
    done = subprocess.run([XDASK, "run", "warm"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (entry,) = project.search(dataset="warm")
    stored = project.open(dataset="warm").compute()
    assert entry.layout == "result"
    np.testing.assert_array_equal(stored.values, warm.compute().values)
    with pytest.raises(XdaskError, match=r"exists\. Remove it, or save"):
        warm.save_as_asset()


def test_an_asset_of_a_period_selects_it(project: Project, folder: Path) -> None:
    one = Selection(
        project, "spring", {"projection": Chosen("models", {"member_id": "r2i1p1f2"}, ("2015-03", "2015-05"))}
    )
    assert "time=('2015-03', '2015-05')" in asset_text(one, "spring")
    path = save_as_asset(one)
    done = subprocess.run(
        [XDASK.with_name("ruff"), "check", path], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout
    done = subprocess.run([XDASK, "run", "spring"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    np.testing.assert_array_equal(project.open(dataset="spring").values, one.compute().values)
    for name in ("class", "a-b", "1st"):
        with pytest.raises(XdaskError, match="cannot be the name of an analysis"):
            save_as_asset(one, name)
    several = Selection(project, "all", {"projection": Chosen("models")})
    with pytest.raises(AmbiguousEntries, match="Pass one value of member_id"):
        save_as_asset(several)
    assert not (folder / "analyses" / "all.py").exists()


def test_without_ipywidgets_one_error_says_what_to_install(folder: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules['ipywidgets'] = None\n"
        "from xdask_pipelines import open_project\n"
        "from xdask_pipelines.errors import XdaskError\n"
        "try:\n    open_project().explore()\nexcept XdaskError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert 'pip install "xdask_pipelines[notebook]"' in done.stdout


def test_an_explorer_of_an_empty_project_says_so(tmp_path: Path) -> None:
    regions = "client: {region: eu-west-2, cidr: 10.0.0.0/16}\nworkers: [{region: us-east-1, cidr: 10.1.0.0/16}]\n"
    (tmp_path / "regions.yaml").write_text(regions)
    with open_project(tmp_path / "regions.yaml") as project:
        explorer = Explorer(project)
        assert explorer.options("historical", "dataset") == []
        assert explorer.summary("historical") == "Choose a dataset."
