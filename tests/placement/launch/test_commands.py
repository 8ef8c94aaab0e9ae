"""Commands by which processes start: what they hold, and what is refused before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import EAST, Cluster, eventually, workers
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import check_scheduler
from xdask_pipelines.placement.launch import machine_defaults
from xdask_pipelines.placement.launch.scheduler_command import SchedulerOptions, scheduler_command
from xdask_pipelines.placement.launch.worker_command import ALLOCATION, WorkerOptions, worker_command
from xdask_pipelines.placement.settings import Settings


def test_ports_are_shared_out_to_workers_and_nannies_without_overlap() -> None:
    words = list(worker_command(WorkerOptions(EAST, "tls://s:8786", "a", ports=(9000, 9031), processes=16)).words)
    assert words[words.index("--worker-port") + 1] == "9000:9015"
    assert words[words.index("--nanny-port") + 1] == "9016:9031"


def test_too_few_ports_are_refused_with_the_range_that_suffices() -> None:
    with pytest.raises(PlacementError, match=r"9000-9006 are too few for 4 worker processes.*at least 9000-9007"):
        worker_command(WorkerOptions(EAST, "tls://s:8786", "a", ports=(9000, 9006), processes=4))


def test_addresses_of_ipv6_have_brackets() -> None:
    for command in (
        worker_command(WorkerOptions(EAST, "tls://[::1]:8786", "a", host="::1")),
        scheduler_command(SchedulerOptions(Settings(), host="::1")),
    ):
        words = list(command.words)
        assert words[words.index("--host") + 1] == "[::1]"


def test_certificates_are_named_by_path_and_never_shown() -> None:
    folder = Path("/etc/xdask/certs")
    for command in (
        worker_command(WorkerOptions(EAST, "tls://s:8786", "a", certificates=folder)),
        scheduler_command(SchedulerOptions(Settings(), certificates=folder)),
    ):
        assert command.environment["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"] == "/etc/xdask/certs/ca.pem"
        assert command.environment["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
        assert not any("certs" in word for word in command.words)


def test_a_printed_command_runs_in_a_shell_and_its_workers_join(cluster: Cluster, tmp_path: Path) -> None:
    """Two processes, with a name and folders that a shell would split."""
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    data, results = cluster.data[EAST], cluster.results[EAST]
    options = WorkerOptions(
        EAST, address, "an instance", data=data, results=results, processes=2, local_directory=tmp_path / "to spill"
    )
    before = check_scheduler(cluster.client)["pools"][EAST]
    started = subprocess.Popen(["sh", "-c", f"exec env {worker_command(options)}"], stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: check_scheduler(cluster.client)["pools"][EAST] == before + 2, 60)
        names = {w["name"] for w in workers(cluster.client).values()}
        assert {"an instance-0", "an instance-1"} <= names
    finally:
        started.terminate()
        assert started.wait(30) in (0, -15)
    assert eventually(lambda: check_scheduler(cluster.client)["pools"][EAST] == before, 30)


def test_all_cores_are_used_four_to_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_defaults, "usable_cores", lambda: 16)
    assert machine_defaults.processes_and_threads(None, None) == (4, 4)
    assert machine_defaults.processes_and_threads(2, None) == (2, 8)
    assert machine_defaults.processes_and_threads(None, 1) == (16, 1)
    monkeypatch.setattr(machine_defaults, "usable_cores", lambda: 2)
    assert machine_defaults.processes_and_threads(None, None) == (1, 2)


def test_the_address_towards_this_machine_is_loopback_and_an_unknown_name_is_an_error() -> None:
    assert machine_defaults.address_towards("127.0.0.1", 8786) == "127.0.0.1"
    with pytest.raises(PlacementError, match=r"finds no way to nowhere\.invalid"):
        machine_defaults.address_towards("nowhere.invalid", 8786)


def test_the_launcher_is_this_python() -> None:
    assert worker_command(WorkerOptions(EAST, "tcp://s:1", "a")).words[0] == sys.executable


def test_worker_processes_keep_memory_that_is_freed_though_nannies_would_not(cluster: Cluster) -> None:
    """Each process started by any command: a nanny would set MALLOC_TRIM_THRESHOLD_ to 64 kB."""
    for found in cluster.client.run(lambda: dict(os.environ)).values():
        assert ALLOCATION.items() <= found.items()


def test_what_the_operator_sets_of_allocation_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    environment = worker_command(WorkerOptions(EAST, "tcp://s:1", "a")).environment
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "1000000"
    assert environment["MALLOC_ARENA_MAX"] == "1"
