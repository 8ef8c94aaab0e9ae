"""`xdask new` writes an analysis that loads and a test that passes, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.catalog_helpers import cmip6
from xdask_pipelines.build import assemble
from xdask_pipelines.catalog import Change, open_catalog
from xdask_pipelines.cli import main
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.new_project import create_project
from xdask_pipelines.own_analyses.new_analysis import create_analysis
from xdask_pipelines.topology import Topology


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    create_project(tmp_path / "mine", sample=True)
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "mine/regions.yaml"))
    return Topology.load(tmp_path / "mine/regions.yaml")


def files(root: Path) -> set[str]:
    found = [p for f in ("analyses", "tests") for p in (root / f).rglob("*") if p.is_file()]
    return {p.relative_to(root).as_posix() for p in found if p.suffix != ".pyc"}


def test_the_analysis_loads_and_its_test_passes(topology: Topology) -> None:
    said = CliRunner().invoke(main, ["new", "uneven"])
    assert said.exit_code == 0, said.output
    assert "xdask run uneven" in said.output
    assembly = assemble(topology)
    assert assembly.own.broken == []
    assert "uneven" in {key.to_user_string() for key in assembly.definitions.resolve_all_asset_keys()}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(words, cwd=topology.root, capture_output=True, text=True, timeout=120, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_example_reads_what_the_catalog_has(topology: Topology) -> None:
    catalog = open_catalog(topology.catalog_url)
    header = {
        "attrs": {},
        "coords": {
            "lat": {"attrs": {"units": "degrees_north"}},
            "lon": {"attrs": {"units": "degrees_east"}},
            "time": {"attrs": {"units": "days since 1850-01-01"}},
        },
        "variables": {"tas": {"dims": ["time", "lat", "lon"], "attrs": {"units": "K", "long_name": 'a "name" \\ x'}}},
    }
    catalog.commit(Change([cmip6("r1i1p1f1", "ssp245").with_header(header)]))
    analysis, _ = create_analysis(topology, catalog, "mine", ())
    text = analysis.read_text()
    assert '"experiment_id": "ssp245",\n' in text
    assert '"member_id": "r1i1p1f1",\n' in text
    assert "time_weighted_mean(field)" in text
    assert assemble(topology).own.broken == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("two words", "cannot be the name"),
        ("../outside", "cannot be the name"),
        ("größe", "cannot be the name"),
        ("class", "cannot be the name"),
        ("_hidden", "cannot be the name"),
        ("", "cannot be the name"),
        ("climate_signal", "has an asset climate_signal already"),
        ("numpy", "is the name of an installed Python module"),
        ("json", "is the name of an installed Python module"),
        ("beyond_global_mean", "The example uses the name"),
        ("example", "exists"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(topology: Topology, name: str, why: str) -> None:
    before = files(topology.root)
    said = CliRunner().invoke(main, ["new", "--", name])
    assert said.exit_code == 1
    assert why in said.output
    assert files(topology.root) == before


def test_a_test_that_exists_is_not_replaced(topology: Topology) -> None:
    (topology.root / "tests").mkdir()
    (topology.root / "tests/test_mine.py").write_text("mine")
    with pytest.raises(XdaskError, match=r"test_mine\.py exists"):
        create_analysis(topology, open_catalog(topology.catalog_url), "mine", ())
    assert not (topology.root / "analyses/mine.py").exists()


def test_a_full_disk_leaves_neither_file(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    catalog, before = open_catalog(topology.catalog_url), files(topology.root)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(XdaskError, match="cannot be written: No space left on device"):
        create_analysis(topology, catalog, "mine", ())
    assert files(topology.root) == before
    assert not (topology.root / "tests").exists()
