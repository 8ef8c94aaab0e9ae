"""The story of a rehearsal, from an empty account to an empty account, with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.rehearsal.program import Program
from infra.rehearsal.rehearse import ANALYSES, synthesize
from infra.rehearsal.rehearsed_project import EXAMPLE, write_project
from infra.rehearsal.stage import stage
from infra.rehearsal.story import Story

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(1800)]
CLIENT, EAST, WEST = "eu-west-2", "us-east-1", "us-west-2"


@pytest.mark.parametrize("of_stage", ["small", "full"])
def test_a_deployment_from_nothing_to_nothing(tmp_path: Path, of_stage: str) -> None:
    data = write_project(EXAMPLE, tmp_path / "own", of_stage)
    topology = tmp_path / "own" / "regions.yaml"
    assembly = synthesize(topology, tmp_path / "cdk.out")
    with stage(topology, assembly, tmp_path / "rehearsal", data=data, analyses=ANALYSES, say=print) as parts:
        outcome = Story(Program(parts), print).tell()
    print("\n".join(outcome.lines()))
    assert outcome.figure_kelvin == pytest.approx(3.3986, abs=2e-4)
    assert outcome.tasks.keys() == {EAST, WEST}
    assert outcome.findings == []
    assert outcome.left == []
    between = sum(size for pair, size in outcome.bytes_across.items() if CLIENT not in pair.split("->"))
    assert between < 400_000 or not outcome.bytes_across, outcome.bytes_across
