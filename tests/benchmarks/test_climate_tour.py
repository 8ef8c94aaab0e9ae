"""The tour of `make tour`, with little data: all its steps, twice in one folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.climate_tour import EAST, PUBLISHED, STEPS, WEST, Size, tour
from xdask_pipelines.placement import Evidence

SMALL = Size(months=2, hours=24, shape=(19, 36))


def test_a_tour_finds_the_warming_that_was_written_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDASK_TOPOLOGY", "")  # the tour sets it; it is restored after the test
    for again in (False, True):
        said: list[str] = []
        summary = tour(tmp_path / "tour", SMALL, said.append)
        assert sum("] wrote " in line for line in said) == (0 if again else 8)
        assert any("era5 in us-east-1: 2 added" in line for line in said), "the catalog is built from scratch"
        assert list(summary.seconds) == ["data", "pools", "sync", *STEPS, "reports"]
        total = Evidence.total(summary.evidence.values())
        assert total.misplaced_tasks == 0
        assert set(total.tasks_by_region) == {EAST, WEST}
        assert summary.means["climate_signal"] == pytest.approx(2.58, abs=0.02)
        assert summary.means["cmip6_ensemble_change"] == pytest.approx(2.58, abs=0.02)
        assert summary.is_right
        assert summary.means["temperature_difference"] == pytest.approx(
            summary.means["climate_signal"] + summary.means["model_bias"], abs=1e-9
        )
        assert {path.read_bytes()[:4] for path in summary.pictures.values()} == {b"\x89PNG"}
        for asset in PUBLISHED:
            assert "<html" in Path(summary.reports[asset]).read_text()[:300]
        text = "\n".join(summary.lines())
        for word in (*summary.seconds, EAST, WEST, "0 misplaced", "+2.58"):
            assert word in text
    wrong = replace(summary, means={**summary.means, "climate_signal": 2.7})
    assert not wrong.is_right
