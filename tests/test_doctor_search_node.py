"""The doctor warns of a catalog node that any user of this machine may use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from xdask_pipelines.cli import main
from xdask_pipelines.resources.search_node import SearchNode


@pytest.mark.parametrize("runs", [True, False])
def test_a_running_node_without_access_control_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    (tmp_path / "regions.yaml").write_text((Path(__file__).parents[1] / "regions.yaml").read_text())
    monkeypatch.setattr(SearchNode, "url", lambda self: "opensearch+http://127.0.0.1:9201" if runs else None)
    done = CliRunner(env={"XDASK_TOPOLOGY": str(tmp_path / "regions.yaml")}).invoke(main, ["doctor", "--json"])
    found = [f for f in json.loads(done.stdout)["findings"] if f["about"] == "opensearch"]
    assert [(f["state"], "each user of this machine" in f["said"]) for f in found] == ([("note", True)] if runs else [])
