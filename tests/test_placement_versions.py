"""Who runs other versions than the rest is named in one sentence, once for each connection."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from places import EAST, WEST, Cluster

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import versions
from xdask_pipelines.placement.cluster import Pool, start
from xdask_pipelines.placement.connect import connect
from xdask_pipelines.placement.versions import version_problems

NEW, OLD = {"python": "3.11.9.final.0", "dask": "2026.8.0", "numpy": "2.4.6"}, {"dask": "2026.7.0"}
ONE, TWO, THREE, FOUR = (f"tcp://10.0.0.{i}:40000" for i in (1, 2, 3, 4))
POOLS = {ONE: EAST, TWO: WEST, THREE: WEST, FOUR: WEST}


def document(**other: dict[str, str | None]) -> dict[str, Any]:
    """Versions as Dask gives them: all new, but for those named."""

    def of(name: str) -> dict[str, Any]:
        return {"host": {}, "packages": NEW | other.get(name, {})}

    workers = dict(zip((ONE, TWO, THREE, FOUR), map(of, ("one", "two", "three", "four")), strict=True))
    return {"client": of("client"), "scheduler": of("scheduler"), "workers": workers}


def test_equal_versions_are_no_problem() -> None:
    assert version_problems(document(), POOLS) == []


def test_one_worker_that_differs_is_named_with_its_pool() -> None:
    assert version_problems(document(one=OLD), POOLS) == [
        f"worker {ONE} of pool us-east-1 runs dask 2026.7.0; scheduler, client and the other 3 workers dask 2026.8.0"
    ]


def test_a_pool_of_another_image_is_one_problem() -> None:
    old = OLD | {"python": "3.11.8.final.0"}
    (problem,) = version_problems(document(two=old, three=old), POOLS)
    assert problem == (
        f"2 workers of pool us-west-2 ({TWO}, {THREE}) run dask 2026.7.0, python 3.11.8; "
        "scheduler, client and the other 2 workers dask 2026.8.0, python 3.11.9"
    )


def test_a_client_that_differs_is_the_odd_one_and_not_all_others() -> None:
    (problem,) = version_problems(document(client=OLD), POOLS)
    assert problem == "this client runs dask 2026.7.0; scheduler and the 4 workers dask 2026.8.0"


def test_among_equals_the_client_is_right() -> None:
    found = document(scheduler=OLD)
    found["workers"].clear()
    assert version_problems(found) == ["the scheduler runs dask 2026.7.0; client dask 2026.8.0"]


def test_what_is_not_installed_is_told_so() -> None:
    (problem,) = version_problems(document(four={"numpy": None}), POOLS)
    assert "runs no numpy; scheduler" in problem


def test_those_that_differ_in_other_ways_are_told_apart() -> None:
    problems = version_problems(document(one=OLD, four={"numpy": "1.26.0"}), POOLS)
    assert [p.split("; ")[0] for p in problems] == [
        f"worker {ONE} of pool us-east-1 runs dask 2026.7.0",
        f"worker {FOUR} of pool us-west-2 runs numpy 1.26.0",
    ]
    assert all(p.split("; ")[1].startswith("scheduler, client and the other 2 workers ") for p in problems)


def test_where_nobody_is_like_most_it_is_said_so() -> None:
    found = document(client={"numpy": "1"}, scheduler={"python": "3.12.1.final.0"}, one=OLD)
    for address in (TWO, THREE, FOUR):
        del found["workers"][address]
    problems = version_problems(found)
    assert len(problems) == 3
    assert all("; most others " in p for p in problems)


def test_a_worker_that_did_not_answer_is_not_compared() -> None:
    found = document()
    found["workers"][ONE] = None
    assert version_problems(found, POOLS) == []


_OTHER_DASK = """
import importlib.metadata as metadata

true = metadata.version
metadata.version = lambda name: "2026.7.0" if name == "dask" else true(name)
"""


def test_a_real_worker_of_another_version_is_named_on_connecting(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_OTHER_DASK)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    other = Pool(EAST, prefix=("env", f"PYTHONPATH={path}"))
    running = start([other, Pool(WEST, processes=2)], tmp_path / "run")
    try:
        with pytest.raises(PlacementError) as caught:
            running.connect(20)
    finally:
        running.stop()
    said = str(caught.value)
    assert f"of pool {EAST} runs dask 2026.7.0; scheduler, client and the other 2 workers dask " in said
    assert "xdask pools down" in said
    assert len(said) < 400


def test_a_worker_that_hangs_does_not_hold_up_who_connects(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(versions, "_ANSWER_SECONDS", 1.0)
    worker = next(iter(cluster.client.run(os.getpid).values()))
    os.kill(worker, signal.SIGSTOP)
    try:
        with connect(cluster.client.scheduler.address) as client:  # type: ignore[union-attr]
            assert client.status == "running"
    finally:
        os.kill(worker, signal.SIGCONT)
    assert "did not tell their versions within 1.0 s" in caplog.text
