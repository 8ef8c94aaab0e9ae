"""Commands that compute: their words, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from xdask_pipelines.cli import main
from xdask_pipelines.operations import materialize as materializing
from xdask_pipelines.operations import planning
from xdask_pipelines.topology import Topology

REGIONS = """
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
"""
DONE: dict[str, Any] = {
    "run_id": "r",
    "runs": ["r"],
    "computed": 0,
    "reused": 0,
    "asset": "largest",
    "warnings": [],
    "checks": {"units": "passed", "complete": "warning"},
    "metadata": {"value": 287.5, "units": "K", "store": "us-east-1:results/largest/1.zarr"},
    "picture": "/p/var/pictures/largest.png",
    "page": "http://127.0.0.1:3000/assets/largest",
    "ui_is_up": False,
}


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    (tmp_path / "regions.yaml").write_text(REGIONS)
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    return Topology.load(tmp_path / "regions.yaml")


@pytest.fixture
def asked(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, Any]]:
    """What runs and plans were asked for: asset, partitions, config."""
    seen: list[tuple[str, Any, Any]] = []

    def note(where: Topology, asset: str, partitions: Any, config: Any, *rest: Any) -> Any:
        seen.append((asset, tuple(partitions), config))
        raise click.Abort

    monkeypatch.setattr(materializing, "materialize", note)
    monkeypatch.setattr(planning, "plan_asset", note)
    return seen


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("words", "partitions"),
    [
        (("mean",), ()),
        (("mean", "--partition", "2026-03"), ("2026-03", "2026-03")),
        (("mean", "--partition=2026-03"), ("2026-03", "2026-03")),
        (("mean", "--partition", "2026-01", "2026-04"), ("2026-01", "2026-04")),
        (("--partition", "2026-03", "mean"), ("2026-03", "2026-03")),
        (("--partition", "2026-01", "2026-04", "mean", "--json"), ("2026-01", "2026-04")),
        (("--partition", "2026-03", "-c", "a=1", "mean"), ("2026-03", "2026-03")),
    ],
)
def test_a_partition_is_one_key_or_first_and_last(
    asked: list[tuple[str, Any, Any]], command: str, words: tuple[str, ...], partitions: tuple[str, ...]
):
    CliRunner().invoke(main, [command, *words])
    assert asked == [("mean", partitions, {"a": "1"} if "-c" in words else {})]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("mean", "--partition"), "--partition needs a value, such as --partition 2026-01"),
        (("mean", "--partition", "--json"), "--partition needs a value"),
        (
            ("mean", "--partition", "a", "--partition", "b"),
            "--partition is given twice; write it once with first and last",
        ),
        (("mean", "another", "--partition", "a"), "unexpected extra argument"),
    ],
)
def test_other_words_are_refused(asked: list[tuple[str, Any, Any]], words: tuple[str, ...], remedy: str):
    done = CliRunner().invoke(main, ["run", *words])
    assert done.exit_code == 2
    assert remedy in done.output
    assert asked == []


def test_a_run_says_number_checks_picture_and_page(topology: Topology, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(materializing, "materialize", lambda *args: DONE)
    shown = CliRunner().invoke(main, ["run", "largest"]).output
    assert "value                 287.5 K\n" in shown
    assert "checks                2 checks, 1 passed; complete: warning\n" in shown
    assert "picture               /p/var/pictures/largest.png\n" in shown
    assert "in the UI             http://127.0.0.1:3000/assets/largest, after `xdask ui`\n" in shown


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ({"computed": 2, "reused": 10}, "10 partitions of largest up to date; 2 computed\n"),
        ({"run_id": "", "reused": 12, "metadata": {}}, "all 12 partitions of largest up to date; nothing to compute\n"),
    ],
)
def test_a_range_says_what_was_up_to_date(
    topology: Topology, monkeypatch: pytest.MonkeyPatch, numbers: dict[str, Any], line: str
):
    monkeypatch.setattr(materializing, "materialize", lambda *args: {**DONE, **numbers})
    done = CliRunner().invoke(main, ["run", "largest", "--partition", "2011-01", "2011-12"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(line)
    assert ("value" in done.output) == (numbers.get("run_id") != "")


@pytest.mark.parametrize("words", [("run", "mean"), ("list",), ("sync",), ("plan", "mean"), ("ui",)])
def test_a_catalog_that_does_not_answer_is_reported_before_anything_starts(
    topology: Topology, words: tuple[str, ...], asked: list[tuple[str, Any, Any]]
):
    file = topology.root / "regions.yaml"
    datasets = "    datasets: [{name: era5, layout: era5-pds, mount: era5}]\n"
    file.write_text(f"{REGIONS}{datasets}catalog: opensearch+http://127.0.0.1:9/xdask\n")
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert done.output.count("does not answer") == 1
    assert asked == []
    assert not topology.var.exists()
