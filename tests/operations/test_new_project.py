"""`xdask init` creates a project in which everything works, or nothing at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from xdask_pipelines.build import assemble
from xdask_pipelines.cli import main
from xdask_pipelines.errors import TopologyError, XdaskError
from xdask_pipelines.operations import new_project
from xdask_pipelines.operations.new_project import create_project, sample_folder
from xdask_pipelines.topology import Topology

REPO = Path(__file__).parents[2]
MAIN_JOB = {"temperature_difference", "climate_signal", "era5_monthly_mean"}


def assets(root: Path) -> set[str]:
    assembly = assemble(Topology.load(root / "regions.yaml"))
    assert assembly.own.broken == []
    return {key.to_user_string() for key in assembly.definitions.resolve_all_asset_keys()}


def test_a_new_project_has_its_own_example_and_none_of_the_demo(tmp_path: Path) -> None:
    names = [path.name for path in create_project(tmp_path / "mine")]
    assert names == sorted(
        [
            ".gitignore",
            "README.md",
            "analyses",
            "dagster.yaml",
            "data",
            "pyproject.toml",
            "regions.yaml",
            "workspace.yaml",
        ]
    )
    found = assets(tmp_path / "mine")
    assert "temperature_pattern" in found
    assert "my-data_catalog_us-east-1" in found
    assert not MAIN_JOB & found


def test_the_sample_brings_the_main_job(tmp_path: Path) -> None:
    create_project(tmp_path / "mine", sample=True)
    assert assets(tmp_path / "mine") >= MAIN_JOB | {"warming_pattern"}
    files = {p.relative_to(tmp_path / "mine/data") for p in (tmp_path / "mine/data").rglob("*") if p.is_file()}
    assert files == {p.relative_to(REPO / "data") for p in (REPO / "data").rglob("*") if p.is_file()}


def test_tests_of_the_example_pass(tmp_path: Path) -> None:
    create_project(tmp_path / "mine")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "analyses"]
    done = subprocess.run(words, cwd=tmp_path / "mine", capture_output=True, text=True, timeout=120, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["dagster.yaml", "workspace.yaml"])
def test_the_checkout_is_such_a_project(name: str) -> None:
    assert (REPO / name).read_text() == (REPO / "xdask_pipelines/templates" / name).read_text()


def test_dagsters_own_tools_find_the_checkout_as_they_find_a_project() -> None:
    ours, template = (
        tomllib.loads((REPO / folder / "pyproject.toml").read_text())["tool"]
        for folder in (".", "xdask_pipelines/templates")
    )
    assert {name: ours[name] for name in ("dagster", "dg")} == template
    assert template["dg"]["project"]["root_module"] == template["dg"]["project"]["defs_module"] == "analyses"


def test_an_empty_folder_is_used_and_a_full_one_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    create_project(tmp_path / "mine")
    (tmp_path / "mine/regions.yaml").write_text("mine")
    with pytest.raises(XdaskError, match=r"is not an empty folder\. Name a new folder"):
        create_project(tmp_path / "mine")
    assert (tmp_path / "mine/regions.yaml").read_text() == "mine"
    (tmp_path / "file").touch()
    with pytest.raises(XdaskError, match="is not an empty folder"):
        create_project(tmp_path / "file")


def test_a_project_that_cannot_be_completed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(new_project.shutil, "copytree", full)
    (tmp_path / "empty").mkdir()
    for folder in ("new/and/mine", "empty"):
        with pytest.raises(XdaskError, match=r"No space left on device.*Check its permissions and the free disk space"):
            create_project(tmp_path / folder, sample=True)
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_the_current_folder_can_become_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    create_project(Path())
    assert "temperature_pattern" in assets(tmp_path)


def test_the_sample_is_taken_from_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "xdask_pipelines"
    shutil.copytree(REPO / "data", package / "sample/data")
    monkeypatch.setattr(new_project.xdask_pipelines, "__file__", str(package / "__init__.py"))
    assert sample_folder() == package / "sample"


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["init", str(tmp_path / "mine")])
    assert said.exit_code == 0, said.output
    assert "xdask run temperature_pattern" in said.output
    again = CliRunner().invoke(main, ["init", str(tmp_path / "mine")])
    assert again.exit_code == 1
    assert "Name a new folder" in again.output


def test_the_demo_is_refused_where_its_data_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_project(tmp_path / "mine")
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "mine/regions.yaml"))
    said = CliRunner().invoke(main, ["demo"])
    assert said.exit_code == 1
    assert "no dataset cmip6 and no dataset era5" in said.output
    assert "xdask init FOLDER --sample" in said.output
    assert not (tmp_path / "mine/var/pools").exists()


def test_networks_are_asked_for_on_aws_alone(tmp_path: Path) -> None:
    create_project(tmp_path / "mine")
    file = tmp_path / "mine/regions.yaml"
    file.write_text(file.read_text() + "\nprofile: aws\n")
    with pytest.raises(TopologyError) as refused:
        Topology.load(file)
    assert "eu-west-2 has no cidr, the addresses of its network on AWS; add one" in str(refused.value)
    assert "us-east-1 has no cidr" in str(refused.value)
    assert "profile aws needs the stanza aws; add `aws: {account:" in str(refused.value)
