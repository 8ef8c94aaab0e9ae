"""`make bench-scale` at a small size: what is recorded, how it is cut, and what is simulated from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale import published
from benchmarks.scale.__main__ import DIFFERENCE, JOBS, LARGE, MONTHLY, REAL, SMALL, figures, record
from benchmarks.scale.decade import EAST, WEST, Decade, written
from benchmarks.scale.drawing import draw
from benchmarks.scale.recording import Phase, prefix
from benchmarks.scale.replay import MonthCost, Run, cut, decade_seconds, pooled, reads, simulated, with_reads
from xdask_pipelines.placement.prediction.forecast import Step
from xdask_pipelines.placement.settings import Link, Rates, Settings

SETTINGS = Settings(
    "eu-west-2",
    links={f"{EAST}->eu-west-2": Link(rtt_seconds=0.1, bytes_per_second=1e6)},
    pools={EAST: Rates(threads=1), WEST: Rates(threads=1)},
    one_machine=True,
)
#: What the simulation adds to the tasks of these graphs: submission, messages.
OVERHEAD = pytest.approx(0.25, abs=0.06)


def months(n: int, seconds: float = 1.0, nbytes: int = 8) -> Phase:
    """Return a phase with a read and a write of each month, an end that needs all of them, and a start."""
    steps = {("create-0",): Step(EAST, [], 8, seconds=0.0)}
    for i in range(n):
        steps["read-0", i] = Step(EAST, [], nbytes, seconds=seconds)
        steps["write-0", i] = Step(EAST, [("read-0", i), ("create-0",)], 8, seconds=0.0)
    steps["end-0",] = Step(EAST, [("write-0", i) for i in range(n)], nbytes, seconds=0.0)
    return Phase(steps, frozenset({("end-0",)}), 0.0, 0.2)


def test_processes_share_the_tasks_until_there_are_as_many() -> None:
    phase = months(12)
    seconds = {n: simulated(phase, pooled(SETTINGS, n, one_machine=True)) for n in (1, 2, 5, 12, 24)}
    assert {n: s - t for (n, s), t in zip(seconds.items(), (12, 6, 3, 1, 1), strict=True)} == dict.fromkeys(
        seconds, OVERHEAD
    )


def test_bytes_that_cross_take_the_time_of_their_link() -> None:
    phase = months(1, nbytes=3_000_000)
    here, there = (simulated(phase, pooled(SETTINGS, 1, one_machine=one)) for one in (True, False))
    assert there - here == pytest.approx(3.0 + 0.1 + 3 * 0.1, abs=0.15), "3 MB at 1 MB/s, and a round trip a level"


def test_a_cut_keeps_what_the_remaining_months_need() -> None:
    phase = months(12)
    assert {name: len(keys) for name, keys in reads(phase, 12).items()} == {"read": 12}
    five = cut(phase, 12, 5)
    assert {name: n for name, (n, _) in five.thread_seconds().items()} == {"create": 1, "read": 5, "write": 5, "end": 1}
    assert five.steps[("end-0",)].needs == [("write-0", i) for i in range(5)]
    assert five.wanted == {("end-0",)}
    assert cut(phase, 12, 12).steps == phase.steps
    with pytest.raises(ValueError, match="no 13 months"):
        cut(phase, 12, 13)
    with pytest.raises(ValueError, match="no tasks of 11 single months"):
        cut(phase, 11, 5)


def test_months_that_share_no_task_are_cut_whole() -> None:
    steps: dict[object, Step] = {}
    for kind in ("sum", "count"):
        for i in range(24):
            steps[f"{kind}-0", i] = Step(EAST, [], 8, seconds=1.0)
        for i in range(12):
            steps[f"{kind}-all-0", i] = Step(EAST, [(f"{kind}-0", i), (f"{kind}-0", 23 - i)], 8, seconds=1.0)
    parts = Phase(steps, frozenset({("sum-all-0", i) for i in range(12)}), 0.0, 0.2)
    three = cut(parts, 12, 3)
    assert {name: n for name, (n, _) in three.thread_seconds().items()} == {
        "sum": 6,
        "count": 6,
        "sum-all": 3,
        "count-all": 3,
    }
    assert len(three.wanted) == 3


def test_ten_years_are_batches_one_after_the_other() -> None:
    many = Run(50.0, [months(12)])
    longer = with_reads(many.phases[0], 12, [2.0, 1.0])
    assert longer.thread_seconds()["read"] == (24, 36.0)
    assert len(longer.steps["write-0", 3].needs) == 3
    cost = MonthCost.between(Run(2.5, []), Run(8.0, []), 12)
    assert (cost.run, cost.month) == (2.0, 0.5)
    settings = pooled(SETTINGS, 5, one_machine=True)
    total, working = decade_seconds(many, 12, [3.0], cost, settings, batch=5)
    assert working - 9.0 == pytest.approx(0.2 + 3 * 0.05, abs=0.15), "5, 5 and 2 months on 5 processes"
    assert total - working == pytest.approx(3 * 2.0 + 12 * 0.5)


def test_the_jobs_are_recorded_and_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDASK_TOPOLOGY", "")  # `written` sets it; it is restored after the test
    size = Decade(months=3, hours=48, shape=(19, 36))
    topology = written(tmp_path, size, lambda line: None)
    records = record(topology, size, 1, lambda line: None)
    assert list(records.runs) == list(REAL)
    for runs in records.runs.values():
        assert set(runs) == {asset for assets in JOBS.values() for asset in assets}
        for asset, run in runs.items():
            in_pools = 1 if asset == DIFFERENCE else 2  # the difference is stored, and checked, in the client's Region
            assert len(run.phases) == in_pools, f"{asset}: the result and its checks"
            assert 0 < run.outside < run.seconds
            for phase in run.phases:
                assert phase.wanted <= phase.steps.keys()
                assert all(step.seconds is not None and step.region in (EAST, WEST) for step in phase.steps.values())
        assert "write@@us_east_1-sum" in {prefix(key) for key in runs[MONTHLY].phases[0].steps}
        assert [len(cut(phase, size.months, 3).steps) for phase in runs[MONTHLY].phases] == [
            len(phase.steps) for phase in runs[MONTHLY].phases
        ]
        assert reads(runs[MONTHLY].phases[0], size.months)
    found = figures(records, topology, size)
    for job in JOBS:
        assert set(found.measured[job]) == set(REAL)
        assert set(found.small[job]) == set(SMALL)
        assert set(found.decade[job]) == set(LARGE)
        assert found.own[job][1] == pytest.approx(found.small[job][1])
        assert found.small[job][12] <= found.small[job][1]
    assert (
        found.decade[published.DIFFERENCE][20] > found.decade[published.ERA5][20] > found.working[20] > sum(found.read)
    )
    text = "\n".join(found.lines())
    for word in ("measured, s", "simulated, s", "published, s", "1512.0", "simulated from tasks of the same run"):
        assert word in text
    draw(tmp_path / "scaling.png", found.measured, found.small, found.decade)
    assert (tmp_path / "scaling.png").read_bytes()[:4] == b"\x89PNG"
