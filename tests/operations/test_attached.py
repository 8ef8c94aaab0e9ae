"""Attached pools: workers and a scheduler that run by their commands alone, over TLS, for a project on the same machine."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from tests.support.attached import DARMSTADT, OREGON, AttachedProject, attached_project
from tests.support.places import eventually
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.operations.start_worker import WorkerRequest, command_of
from xdask_pipelines.placement import check_scheduler, compute, pin
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.launch.machine_checks import refuse_host


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttachedProject]:
    with attached_project(tmp_path_factory.mktemp("attached") / "project") as found:
        found.start("scheduler", "scheduler", "--dashboard", "127.0.0.1:0")
        found.worker("a", DARMSTADT)
        found.worker("b", OREGON, "--processes", "1")
        with client_of(found) as client:
            wait_for(client, {DARMSTADT: 1, OREGON: 1})
        yield found


def client_of(project: AttachedProject) -> Client:
    found: list[Client] = []

    def connected() -> bool:
        try:
            found.append(connect(f"tls://localhost:{project.port}", project.folder / "var" / "certs", timeout=5))
        except OSError:
            return False
        return True

    assert eventually(connected, 60), project.log("scheduler").read_text()
    return found[0]


def wait_for(client: Client, workers: dict[str, int]) -> None:
    def pools() -> dict[str, int]:
        return {region: n for region, n in check_scheduler(client)["pools"].items() if n}

    assert eventually(lambda: pools() == workers, 60), pools()


def test_the_main_job_has_the_figures_of_one_machine(project: AttachedProject) -> None:
    assert "Regions               darmstadt: EUMETSAT; exeter: Met Office" in project.xdask("demo")
    report = json.loads((project.folder / "var/demo/report.json").read_text())
    assert report["mean_difference_K"] == pytest.approx(3.3986, abs=2e-4)
    assert report["climate_signal_K"] == pytest.approx(4.4051, abs=2e-4)
    assert report["misplaced_tasks"] == 0
    assert set(report["tasks_by_region"]) == {DARMSTADT, OREGON}
    assert {path.name for path in (project.folder / "results" / DARMSTADT).glob("results/*")} >= {"era5_monthly_mean"}


def test_status_names_workers_and_what_to_run_where_there_are_none(project: AttachedProject) -> None:
    said = project.xdask("pools", "status")
    assert f"scheduler tls://localhost:{project.port}" in said
    assert "pool of darmstadt (EUMETSAT): 1 worker process" in said
    assert "end each `xdask worker`" in project.xdask("pools", "down", fails=True)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--region", "darmstad"), r"'darmstad' is not a Region of the scheduler.*exeter, darmstadt, us-west-2"),
        (("--region", OREGON), r"is not the data of us-west-2 that the catalog describes: it has no cmip6/"),
        (("--region", DARMSTADT, "--ports", "90-80"), "'90-80' is not a range of ports"),
        (("--region", DARMSTADT, "--processes", "9", "--ports", "9000-9003"), "at least 9000-9017"),
        (("--region", DARMSTADT, "--data", "/nowhere"), "There is no folder /nowhere on this machine"),
        (("--region", DARMSTADT, "--scheduler", "tcp://192.0.2.1:8786"), "does not use TLS"),
    ],
)
def test_a_worker_that_would_not_fit_is_refused_before_it_starts(
    project: AttachedProject, words: tuple[str, ...], problem: str
) -> None:
    folders = (
        "--data",
        str(project.folder / "data" / DARMSTADT),
        "--results",
        str(project.folder / "results" / DARMSTADT),
    )
    said = project.xdask("worker", *folders, *words, fails=True)
    assert len(said.strip().splitlines()) == 1
    assert re.search(problem, said), said


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"scheduler": "tls://localhost"}, "'tls://localhost' is not the address of a scheduler"),
        ({"scheduler": "localhost:8786"}, "'localhost:8786' is not the address of a scheduler"),
        ({"name": "a"}, "An instance with the name darmstadt-a runs.*`--name`"),
        ({"memory_limit": "lots"}, "'lots' is not a memory limit"),
        ({"memory_limit": "8"}, "'8' is not a memory limit.*8GiB"),
        ({"results": Path("/proc")}, "No file can be written in /proc.*`--results`"),
        ({"local_directory": Path("/proc/x")}, "No file can be written in /proc/x.*`--local-directory`"),
        ({"host": "192.0.2.9"}, "192.0.2.9 is not an address of this machine.*`--host`"),
        ({"contact_host": "nowhere.invalid"}, "The name nowhere.invalid has no address.*`--contact-address`"),
    ],
)
def test_what_this_machine_cannot_give_is_refused(
    project: AttachedProject, changes: dict[str, Any], problem: str
) -> None:
    """Dask would start, print a traceback, and be started again by its supervisor."""
    request = WorkerRequest(
        DARMSTADT,
        f"tls://localhost:{project.port}",
        project.folder / "var" / "certs",
        project.folder / "data" / DARMSTADT,
        project.folder / "results" / DARMSTADT,
        processes=1,
    )
    with pytest.raises(PlacementError, match=problem):
        command_of(replace(request, **changes))


def test_ports_that_are_taken_are_refused_by_worker_and_scheduler(project: AttachedProject) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PlacementError, match=rf"Port {port} on 127.0.0.1 is taken"):
            refuse_host("127.0.0.1", range(port, port + 1), 1)
    for words, problem in (
        ((), rf"Port {project.port} on 127.0.0.1 is taken.*`--port`"),
        (("--dashboard", "nonsense", "--port", "0"), "'nonsense' is not an address for web pages"),
        (("--contact-address", "me:1", "--port", "0"), "'me:1' is not the address of a scheduler"),
    ):
        said = project.xdask("scheduler", *words, fails=True)
        assert re.search(problem, said), said
        assert len(said.strip().splitlines()) == 1


def slowly(block: np.ndarray) -> np.ndarray:
    sleep(0.2)
    return block


def test_a_worker_that_is_asked_to_end_hands_over_what_it_holds(project: AttachedProject) -> None:
    with client_of(project) as client:
        project.worker("second", DARMSTADT, "--ports", "19100-19109")
        wait_for(client, {DARMSTADT: 2, OREGON: 1})
        held = client.persist(pin(da.ones((40, 8), chunks=(1, 8)), DARMSTADT).map_blocks(slowly, dtype=float))
        assert eventually(lambda: in_memory(client) >= 8, 30)
        assert project.stop("second") == 0
        (total,), evidence = compute(client, held.sum())
        assert total == 320
        assert evidence.misplaced_tasks == 0
        wait_for(client, {DARMSTADT: 1, OREGON: 1})
    log = project.log("second").read_text()
    assert "draining tls://127.0.0.1:191" in log
    assert "drained" in log
    assert "ERROR" not in log


def in_memory(client: Client) -> int:
    return sum(map(len, client.has_what().values()))


def test_workers_wait_for_the_next_scheduler_when_this_one_is_stopped(project: AttachedProject) -> None:
    before = {name: process.pid for name, process in project.running.items() if name != "scheduler"}
    assert project.stop("scheduler") == 0
    project.start("scheduler", "scheduler", "--dashboard", "127.0.0.1:0")
    with client_of(project) as client:
        wait_for(client, {DARMSTADT: 1, OREGON: 1})
        assert compute(client, pin(da.ones(8, chunks=4), OREGON).sum())[0] == (8,)
    assert all(project.running[name].poll() is None for name in before)


def test_a_worker_starts_from_a_folder_inside_of_a_project(project: AttachedProject) -> None:
    inside = project.folder / "data" / DARMSTADT
    words = ("--data", str(inside), "--results", str(project.folder / "results" / DARMSTADT))
    said = project.xdask("worker", "--region", DARMSTADT, *words, "--print-command", inside=inside)
    assert f" tls://localhost:{project.port} " in said
    assert f"XDASK_REGION_DATA={inside} " in said
