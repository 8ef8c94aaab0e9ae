"""What the README promises, run from the README's own text."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from tests.jobs.lab import REPO, Project
from xdask_pipelines.climate import area_weighted_mean

README = (REPO / "README.md").read_text()
XDASK = Path(sys.executable).with_name("xdask")


def section(title: str) -> str:
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def write_analysis(project: Project, text: str) -> None:
    name = re.match(r"# (analyses/\w+\.py)\n", text).group(1)
    (project.topology.root / name).write_text(text)


def shell(project: Project, line: str) -> str:
    words = shlex.split(line.split("  #")[0])
    assert words[0] == ".venv/bin/xdask"
    done = subprocess.run(
        [XDASK, *words[1:]], cwd=project.topology.root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_first_own_asset_is_ten_lines_and_runs_at_home(project: Project) -> None:
    text = section("Your first asset")
    (code,) = blocks(text, "python")
    assert len(code.strip().splitlines()) <= 10
    write_analysis(project, code)
    shell(project, ".venv/bin/xdask demo")
    planned, ran = [shell(project, line) for line in blocks(text, "sh")[0].strip().splitlines()]
    assert "us-west-2" in planned
    assert "us-west-2:results/uneven_warming" in ran
    assert "misplaced 0" in ran


def test_own_data_are_searchable_and_usable(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    text = section("Your own data")
    make, use = blocks(text, "python")
    monkeypatch.chdir(project.topology.root)
    exec(compile(make, "README.md", "exec"), {})
    file = project.topology.root / "regions.yaml"
    before = file.read_text()
    file.write_text(before.rstrip() + "\n" + blocks(text, "yaml")[0])
    try:
        lines = blocks(text, "sh")[0].strip().splitlines()
        assert "1 added" in shell(project, lines[0])
        assert "my-model/CMIP/MyLab/MyModel/control" in shell(project, lines[1])
        shell(project, ".venv/bin/xdask run my-model_catalog_us-west-2")
        write_analysis(project, use)
        assert "us-west-2:results/my_model_mean" in shell(project, ".venv/bin/xdask run my_model_mean")
    finally:
        (project.topology.root / "analyses" / "my_model_mean.py").unlink(missing_ok=True)
        file.write_text(before)
    found = json.loads(subprocess.run([XDASK, "doctor", "--json"], capture_output=True, text=True, check=False).stdout)
    assert any("xdask catalog forget my-model" in f["remedy"] for f in found["findings"])
    assert "my-model in us-west-2: 1 entry removed" in shell(project, ".venv/bin/xdask catalog forget my-model")
    assert "0 entries" in shell(project, lines[1])
    with pytest.raises(AssertionError, match=r"Take the dataset out of regions\.yaml first"):
        shell(project, ".venv/bin/xdask catalog forget era5")


def test_three_lines_from_the_catalog_to_a_plotted_mean(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks(section("In a notebook or script"), "python")
    lines = [line for line in code.splitlines() if line and "import" not in line]
    assert len(lines) == 3
    monkeypatch.chdir(project.topology.root)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    there: dict[str, Any] = {}
    plt.figure()
    try:
        exec(compile(code, "README.md", "exec"), there)
        (drawn,) = [c for c in plt.gca().collections if isinstance(c, QuadMesh)]
        np.testing.assert_array_equal(drawn.get_array().ravel(), there["mean"].values.ravel())
    finally:
        plt.close("all")
    assert float(area_weighted_mean(there["mean"])) == pytest.approx(290.94, abs=0.01)
    assert set(there["project"].evidence.tasks_by_region) == {"us-west-2"}
    assert there["project"].evidence.misplaced_tasks == 0
    several = there["project"].compute(there["mean"].mean(), there["mean"].max())
    assert len(several) == 2
    there["project"].close()


def test_every_command_of_the_table_exists() -> None:
    said = set(re.findall(r"`xdask (\w+)", section("The command line")))
    done = subprocess.run([XDASK, "--help"], capture_output=True, text=True, timeout=60, check=True)
    offered = set(re.findall(r"^  (\w+) ", done.stdout.split("Commands:")[1], re.M))
    assert said == offered


def test_pictures_of_the_readme_exist() -> None:
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPO / path).exists(), path
