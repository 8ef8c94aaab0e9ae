"""The page on reports: its commands run, in its order, and leave what it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.jobs.lab import REPO, Project
from xdask_pipelines.topology import Topology

PAGE = (REPO / "docs/reports.md").read_text()
XDASK = Path(sys.executable).with_name("xdask")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_all_commands_of_the_page_run(project: Project) -> None:
    root = project.topology.root
    lines = [line for block in blocks("sh") for line in block.strip().splitlines()]
    assert len(lines) >= 8
    demo = subprocess.run([XDASK, "demo"], cwd=root, capture_output=True, text=True, timeout=200, check=False)
    assert demo.returncode == 0, demo.stderr
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "xdask"
        done = subprocess.run([XDASK, *words[1:]], cwd=root, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, line + done.stdout + done.stderr
    assert (root / "shared-pages" / "index.html").is_file()
    assert json.loads((root / "climate_signal.prov.json").read_text())["entity"]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_uneven_pattern.py"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert (root / "var/reports/uneven_pattern.html").is_file()


@pytest.mark.parametrize("block", blocks("yaml"))
def test_its_keys_of_regions_yaml_are_valid(tmp_path: Path, block: str) -> None:
    stanza = yaml.safe_load(block)
    datasets = stanza if isinstance(stanza, list) else []
    content = {
        "client": {"region": "eu-west-2"},
        "workers": [{"region": "us-east-1", "datasets": datasets}],
        **(stanza if isinstance(stanza, dict) else {}),
    }
    (tmp_path / "regions.yaml").write_text(yaml.safe_dump(content))
    topology = Topology.load(tmp_path / "regions.yaml")
    assert topology.reports is not None or topology.datasets("era5")[0][1].doi
