"""The benchmark of many workers, with few: both ways compute, and half of each pool is drained without loss."""

from __future__ import annotations

import pytest

from benchmarks.many_workers import Size, measured, table
from tests.support.places import EAST, WEST

SMALL = Size(
    (EAST, WEST), 3, 60, rounds=2, small=5, small_blocks=20, drained_blocks=60, task_seconds=0.05, idle_seconds=0.1
)


def test_each_way_has_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    ways = {name: measured(SMALL, placed=name == "placed") for name in ("placed", "plain Dask")}
    assert ways["placed"].keys() - ways["plain Dask"].keys() == {"half of a pool drained, s"}
    assert "drained half of us-west-2" in capsys.readouterr().out
    lines = table(ways)
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    (row,) = [line for line in lines if line.startswith("60 blocks of 2 Regions: tasks")]
    assert row.split()[-3:] == ["62.0", "122.0", "0.51"]
