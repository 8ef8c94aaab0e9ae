"""The story of a rehearsal, from an empty account to an empty account, with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.rehearsal.program import HandsProgram
from infra.rehearsal.rehearse import ANALYSES, Story
from infra.rehearsal.stage import sample_data, stage
from tests.infra.rehearsal.written_assembly import CLIENT, EAST, WEST, topology_file, written_assembly

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(900)]


def test_a_deployment_from_nothing_to_nothing(tmp_path: Path) -> None:
    topology, assembly = topology_file(tmp_path / "own"), written_assembly(tmp_path / "cdk.out")
    with stage(topology, assembly, tmp_path / "rehearsal", data=sample_data(), analyses=ANALYSES, say=print) as parts:
        outcome = Story(HandsProgram(parts), print).tell()
    print("\n".join(outcome.lines()))
    assert outcome.figure_kelvin == pytest.approx(3.3986, abs=2e-4)
    assert outcome.tasks.keys() == {EAST, WEST}
    assert outcome.findings == []
    assert outcome.left == []
    between = sum(size for pair, size in outcome.bytes_across.items() if CLIENT not in pair.split("->"))
    assert between < 400_000 or not outcome.bytes_across, outcome.bytes_across
