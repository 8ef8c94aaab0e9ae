"""Placement over a network of namespaces: bytes as the relay counts them, and what happens when it is cut."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from benchmarks.wan.inputs import CLIENT, EAST, WEST
from benchmarks.wan.line_protocol import Talk, talking
from benchmarks.wan.network import Network, lacking

pytestmark = [pytest.mark.wan, pytest.mark.timeout(900)]
REPO = Path(__file__).parents[2]
#: Each task is described to its worker, and each is reported.
TASK_BYTES = 2_000


@pytest.fixture(scope="module", autouse=True)
def network_is_possible() -> None:
    """What is lacking is a failure: without it nothing here would have been shown."""
    assert lacking() is None, lacking()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("wan")
    jobs = ("mean-to-regrid", "projection-minus-historic", "wind-speed", "anomaly", "rechunk", "ensemble")
    found = []
    for ways, chosen in (
        (("multi", "ours"), (*jobs, "correlation", "spread", "small-tasks", "chain")),
        # The last two take the others minutes; in the first two whole fields move, which are smaller as they are stored.
        (("haul", "plain", "reference"), jobs),
    ):
        file = folder / f"{ways[0]}.json"
        words = ["--short", "--rounds", "1", "--data", str(folder / "data"), "--json", str(file)]
        words += [word for way in ways for word in ("--way", way)] + [word for job in chosen for word in ("--job", job)]
        found += bench(*words, file=file)
    return {(d["job"], d["way"]): d for d in found}


@pytest.fixture(scope="module")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Ten analyses made from seeds."""
    file = tmp_path_factory.mktemp("analyses") / "ours.json"
    words = ["--short", "--rounds", "1", "--data", str(file.parent / "data"), "--json", str(file), "--way", "ours"]
    return bench(*words, *(word for seed in range(10) for word in ("--job", f"analysis-{seed}")), file=file)


def bench(*words: str, file: Path) -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.wan", *words], cwd=REPO, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return list(json.loads(file.read_text()))


def talk(one: dict[str, Any]) -> float:
    """What a scheduler and three workers say to each other besides: heartbeats twice a second, and who is there."""
    return 30_000 + 15_000 * float(one["seconds"])


def ours(measured: dict[tuple[str, str], dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], int]]:
    for (job, way), one in measured.items():
        if way == "ours":
            yield job, one, sum(one["bytes_across"].values())


def test_what_crosses_is_nearly_the_least_that_must(measured: Any) -> None:
    for job, one, across in ours(measured):
        assert across <= 1.1 * one["smallest_cut_bytes"] + TASK_BYTES * one["tasks"] + talk(one), job
        assert one["floor_bytes"] <= across, job


def test_what_seeded_analyses_move_is_nearly_the_least_by_the_relay_too(analyses: list[dict[str, Any]]) -> None:
    assert len(analyses) == 10
    for one in analyses:
        across = sum(one["bytes_across"].values())
        assert across <= 1.1 * one["smallest_cut_bytes"] + TASK_BYTES * one["tasks"] + talk(one), one["job"]
        assert sum(one["evidence"]["bytes_across"].values()) <= across, one["job"]


def test_evidence_tells_what_the_relay_counted(measured: Any) -> None:
    for job, one, across in ours(measured):
        told = one["evidence"]["bytes_across"]
        assert all(nbytes <= one["bytes_across"].get(pair, 0) for pair, nbytes in told.items()), job
        assert across <= 1.05 * sum(told.values()) + TASK_BYTES * one["tasks"] + talk(one), job
        assert one["evidence"]["misplaced_tasks"] == 0, job
        assert one["restricted_tasks"] == one["tasks"], job


def test_the_plan_foretold_it(measured: Any) -> None:
    for job, one, _ in ours(measured):
        for figure in ("tasks_by_region", "bytes_read_by_region", "bytes_across"):
            said, was = (sum(one[which][figure].values()) for which in ("plan", "evidence"))
            assert said == pytest.approx(was, rel=0.2), (job, figure)


def test_ours_moves_less_than_what_else_one_would_pick(measured: Any) -> None:
    for job, one, across in ours(measured):
        others = {way: sum(d["bytes_across"].values()) for (j, way), d in measured.items() if j == job}
        for way in ("haul", "plain", "reference"):
            assert across < others.get(way, across + 1), (job, way)
        if len(one["evidence"]["tasks_by_region"]) > 1:
            assert across - talk(one) <= others["multi"], job
        assert one["result_digest"] == measured[job, "multi"]["result_digest"], job


def test_the_reference_s_annotations_restrict_nothing(measured: Any) -> None:
    assert {d["restricted_tasks"] for (_, way), d in measured.items() if way == "reference"} == {0}


# ---- outages ----------------------------------------------------------------------------------------------------------


@contextmanager
def computing(folder: Path, *, again: bool) -> Iterator[tuple[Network, Talk]]:
    """A computation over two Regions, in mid-run."""
    regions = [EAST, WEST, CLIENT]
    with Network(regions, 80, 200) as network:
        asked = {
            "regions": [EAST, WEST],
            "client": CLIENT,
            "again": again,
            "root": str(folder),
            "logs": str(folder),
            "spaces": {r: network.inside(r) for r in regions},
            "addresses": {r: network.address(r) for r in regions},
        }
        command = [*network.inside(CLIENT), sys.executable, str(Path(__file__).with_name("outage.py"))]
        with talking(command, f"Its logs are in {folder}.") as talk:
            talk.say(json.dumps(asked))
            assert talk.hear() == "running"
            yield network, talk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for region in (EAST, WEST, "eu-central-1"):
        (tmp_path / region).mkdir()
    return tmp_path


def test_ten_seconds_without_a_network_lose_nothing_and_nothing_is_done_again(folder: Path) -> None:
    with computing(folder, again=False) as (network, talk):
        network.tell(f"cut {WEST}")
        talk.say("go on")
        sleep(10)
        network.tell(f"restore {WEST}")
        found = talk.hear()
    assert found.get("value") == 80 * 79 / 2 * 1_000, found
    assert sum(found["tasks_by_region"].values()) == found["planned"]
    assert found["misplaced_tasks"] == 0


def test_two_minutes_without_a_network_are_told_by_name_and_the_rerun_succeeds(folder: Path) -> None:
    with computing(folder, again=True) as (network, talk):
        network.tell(f"cut {WEST}")
        talk.say("go on")
        found = talk.hear()
        assert found["error"] == "EmptyPool", found
        assert f"pool-{WEST}" in found["message"]
        assert found["seconds"] < 120
        sleep(max(0.0, 120 - found["seconds"]))
        network.tell(f"restore {WEST}")
        talk.say("again")
        again = talk.hear()
    assert again.get("value") == 80 * 79 / 2 * 1_000, again
