"""The benchmark of many workers, with few: both ways compute, and half of each pool is drained without loss."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.many_workers import Size, measured, table
from tests.support.places import EAST, WEST

SMALL = Size(
    (EAST, WEST), 3, 60, rounds=1, small=2, small_blocks=20, drained_blocks=60, task_seconds=0.05, idle_seconds=0.1
)


def test_both_ways_have_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    ways = {"placed": measured(SMALL, placed=True), "plain": measured(replace(SMALL, processes=1), placed=False)}
    assert ways["placed"].keys() - ways["plain"].keys() == {"half of a pool drained, s"}
    assert "drained half of us-west-2" in capsys.readouterr().out
    lines = table(ways)
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    (row,) = [line for line in lines if line.startswith("60 blocks of 2 Regions: tasks")]
    assert row.split()[-3:] == ["62.0", "123.0", "0.50"]
