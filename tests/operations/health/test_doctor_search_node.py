"""The doctor warns of a catalog node that answers anybody, and of keys and certificates of one that does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from xdask_pipelines.cli import main
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.placement.local.tls import NODE_KEY
from xdask_pipelines.resources.opensearch import search_node
from xdask_pipelines.resources.opensearch.search_node import SearchNode

OURS, NAMED = "127.0.0.1:9201", "127.0.0.1:9205"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the node of `xdask opensearch up` runs, and regions.yaml names another one."""
    regions = (Path(__file__).parents[3] / "regions.yaml").read_text()
    (tmp_path / "regions.yaml").write_text(f"{regions}\ncatalog: opensearch+http://{NAMED}/xdask\n")
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    monkeypatch.setattr(SearchNode, "endpoint", OURS)
    for look in ("_catalog", "_code"):  # the catalog's node is not there, and both would retry for a while
        monkeypatch.setattr(f"xdask_pipelines.operations.health.doctor.{look}", lambda topology: ())
    monkeypatch.setattr(search_node, "open_to_all", lambda endpoint: False)
    make_certificates(tmp_path / "var" / "opensearch" / "certs")
    return tmp_path


def _found() -> list[tuple[str, str]]:
    done = CliRunner().invoke(main, ["doctor", "--json"])
    return [(f["state"], f["said"]) for f in json.loads(done.stdout)["findings"] if f["about"] == "opensearch"]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("opened", [OURS, NAMED])
def test_a_node_that_answers_anybody_is_reported(monkeypatch: pytest.MonkeyPatch, opened: str) -> None:
    monkeypatch.setattr(search_node, "open_to_all", opened.__eq__)
    assert [said.partition(":9")[2][:3] for state, said in _found() if state == "note"] == [opened[-3:]]


def test_what_is_wrong_with_a_node_is_not_mended_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regions = (Path(__file__).parents[3] / "regions.yaml").read_text()
    (tmp_path / "regions.yaml").write_text(f"{regions}\ncatalog: opensearch+https://{NAMED}/xdask?certs=var/none\n")
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    done = CliRunner().invoke(main, ["doctor", "--json"])
    (found,) = (f for f in json.loads(done.stdout)["findings"] if f["about"] == "catalog")
    assert f"{tmp_path}/var/none/ca.pem cannot be read" in found["said"]
    assert found["remedy"].startswith("Do what the message says")


def test_certificates_of_a_node_are_looked_at(project: Path) -> None:
    ((state, said),) = _found()
    assert (state, "valid until" in said) == ("ok", True)
    certs = project / "var" / "opensearch" / "certs"
    (certs / NODE_KEY).chmod(0o644)
    (certs / "node.pem").unlink()
    make_certificates(certs, now=datetime.now(UTC) - timedelta(days=345))
    (certs / NODE_KEY).chmod(0o644)
    (problem, said), (note, _) = _found()
    assert (problem, "can be read by other users" in said, note) == ("problem", True, "note")
