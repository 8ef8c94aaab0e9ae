"""Requests that would cost other clients their work are refused by name while they compute; harmless ones are not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from zipfile import ZipFile

import dask.array as da
import pytest
from distributed import Client, NannyPlugin, WorkerPlugin, futures_of, wait
from distributed.diagnostics.plugin import Environ, PipInstall, UploadDirectory, UploadFile

from tests.support.hostile import OWED_SECONDS
from tests.support.places import EAST, WEST, Cluster, array, eventually, until, worker_ids, workers_of
from xdask_pipelines.errors import LostComputation
from xdask_pipelines.placement import PlacementError, compute
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.settings import Settings


@contextmanager
def computing(client: Client, flag: Path) -> Iterator[None]:
    """A computation that runs for as long as the block, and comes to what it should."""
    answers: list[Any] = []
    run = Thread(target=lambda: answers.append(compute(client, until(flag, EAST).sum())))
    run.start()
    try:
        started = eventually(lambda: any(client.processing().values()), OWED_SECONDS)
        assert started, f"nothing runs after {OWED_SECONDS:.0f} s; the computing thread lives: {run.is_alive()}"
        yield
    finally:
        flag.touch()
        run.join(timeout=OWED_SECONDS)
    ((got,), evidence) = answers[0]
    assert got == 2
    assert set(evidence.tasks_by_region) == {EAST}


class Restarting(NannyPlugin):
    restart = True


class Quiet(NannyPlugin):
    """A plugin of nannies that leaves workers alone."""


def test_what_restarts_or_retires_the_workers_of_others_is_refused_while_they_compute(
    cluster: Cluster, neighbour: Client, tmp_path: Path
) -> None:
    (folder := tmp_path / "own_package").mkdir()
    (folder / "__init__.py").touch()
    east = workers_of(neighbour, EAST)
    attempts: dict[str, Callable[[], Any]] = {
        rf"'retire_workers' would take 1 workers of pool-{EAST} from others": lambda: neighbour.retire_workers(
            east[:1]
        ),
        r"'retire_workers' would take \d+ workers of pool-": lambda: neighbour.retire_workers(n=2),
        "would take 1 workers of .*placement.drain": lambda: neighbour.retire_workers(names=[EAST]),
        "'Restarting-.*may restart workers that other clients use": lambda: neighbour.register_plugin(Restarting()),
        "may restart workers that other clients use.*To set environment variables": lambda: neighbour.register_plugin(
            Environ({"A": "1"})
        ),
        "'upload-directory-own_package' may restart": lambda: neighbour.register_plugin(
            UploadDirectory(str(folder), restart_workers=True)
        ),
        "PipInstall would change packages while other clients compute": lambda: neighbour.register_plugin(
            PipInstall(["no-such-package"])
        ),
    }
    with computing(cluster.client, tmp_path / "go"):
        for message, attempt in attempts.items():
            with pytest.raises(PlacementError, match=message):
                attempt()
        neighbour.register_plugin(Quiet(), name="a-quiet-one")
        neighbour.unregister_worker_plugin("a-quiet-one", nanny=True)
    assert worker_ids(cluster.client) == cluster.first_workers


@pytest.mark.alone
def test_what_loses_results_that_a_client_holds_is_refused_and_names_the_client(
    cluster: Cluster, neighbour: Client
) -> None:
    held = cluster.client.persist(array(EAST, (8,), 2, 81))
    wait(held)
    attempts: list[Callable[[], Any]] = [
        neighbour.restart,
        lambda: neighbour.restart_workers(workers_of(neighbour, EAST)),
        lambda: neighbour.register_plugin(Environ({"A": "1"})),
        neighbour.shutdown,
    ]
    for attempt in attempts:
        with pytest.raises(PlacementError, match=rf"results are held by {cluster.client.id} \(4\)"):
            attempt()
    assert compute(cluster.client, held.sum())[0] == (array(EAST, (8,), 2, 81).compute(scheduler="sync").sum(),)
    assert worker_ids(cluster.client) == cluster.first_workers


def test_a_client_whose_shutdown_was_refused_is_told_to_connect_again_and_closes(
    cluster: Cluster, tmp_path: Path
) -> None:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    with computing(cluster.client, tmp_path / "go"):
        with Client(address, set_as_default=False) as leaving:
            with pytest.raises(PlacementError, match=r"close it and connect again"):
                leaving.shutdown()
            with pytest.raises(LostComputation, match="not connected: it was closed"):
                compute(leaving, array(EAST, (8,), 2, 82).sum())
        assert leaving.status == "closed"
        with Client(address, set_as_default=False) as again:
            assert compute(again, array(WEST, (8,), 2, 83).sum())[1].misplaced_tasks == 0


@pytest.mark.alone
def test_a_pool_keeps_its_last_worker_though_nobody_computes(cluster: Cluster) -> None:
    with pytest.raises(PlacementError, match=rf"would leave pool-{WEST} without a worker.*placement\.drain"):
        cluster.client.retire_workers(workers_of(cluster.client, WEST))
    assert worker_ids(cluster.client) == cluster.first_workers


def test_harmless_requests_work_while_others_compute(cluster: Cluster, neighbour: Client, tmp_path: Path) -> None:
    (module := tmp_path / "own_of_a_neighbour.py").write_text("answer = 42\n")
    with computing(cluster.client, tmp_path / "go"):
        neighbour.upload_file(str(module))
        neighbour.upload_file(str(module))
        assert neighbour.submit(_imported, pure=False, workers=workers_of(neighbour, WEST)).result(timeout=30) == 42
        neighbour.set_metadata("own", 1)
        assert neighbour.get_metadata("own") == 1
        neighbour.forward_logging("own")
        neighbour.unforward_logging("own")
        neighbour.register_worker_callbacks(_set_up)
        assert neighbour.run_on_scheduler(lambda: 1) == 1
        assert neighbour.retire_workers(["tcp://127.0.0.1:1"]) == {}
        held = array(WEST, (6,), 2, 3).persist()
        neighbour.replicate(neighbour.scatter([1, 2], broadcast=True))
        neighbour.rebalance()
        del held


def _imported() -> int:
    import own_of_a_neighbour  # type: ignore[import-not-found]

    return int(own_of_a_neighbour.answer)


def _set_up() -> None:
    """Do nothing."""


# ---- uploads --------------------------------------------------------------------------------------------------------


def test_an_upload_hides_no_installed_module(cluster: Cluster, neighbour: Client, tmp_path: Path) -> None:
    (tmp_path / "xarray.py").write_text("raise ImportError\n")
    (tmp_path / "random.py").write_text("")
    with ZipFile(tmp_path / "own.zip", "w") as archive:
        archive.writestr("xdask_pipelines/__init__.py", "")
    for name, module in (("xarray.py", "xarray"), ("random.py", "random"), ("own.zip", "xdask_pipelines")):
        for upload in (
            lambda path: neighbour.upload_file(path),
            lambda path: neighbour.upload_file(path, load=False),
            lambda path: neighbour.register_plugin(UploadFile(path)),
        ):
            with pytest.raises(PlacementError, match=f"{name} would hide the installed module '{module}'"):
                upload(str(tmp_path / name))
    _, evidence = compute(cluster.client, array(EAST, (8,), (2,), seed=16).sum())
    assert set(evidence.tasks_by_region) == {EAST}


def test_an_upload_replaces_no_other_file_of_its_name_while_others_compute(
    cluster: Cluster, neighbour: Client, tmp_path: Path
) -> None:
    module = tmp_path / "own_helpers.py"
    module.write_text("answer = 1\n")
    neighbour.upload_file(str(module))
    module.write_text("answer = 2\n")
    message = r"Another file own_helpers\.py .*Give your file another name"
    with computing(cluster.client, tmp_path / "go"), pytest.raises(PlacementError, match=message):
        neighbour.upload_file(str(module))


# ---- plugins that fail ------------------------------------------------------------------------------------------------


class Failing(WorkerPlugin):
    def setup(self, worker: Any) -> None:
        raise ZeroDivisionError


class FailingOnNannies(NannyPlugin):
    def setup(self, nanny: Any) -> None:
        raise ZeroDivisionError


def _break() -> Any:
    raise ModuleNotFoundError("a module that workers do not have")


class Unreadable(WorkerPlugin):
    def __reduce__(self) -> Any:
        return _break, ()


class UnreadableOnNannies(NannyPlugin):
    def __reduce__(self) -> Any:
        return _break, ()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One client alone, of a pool whose worker may die."""
    running = start([Pool(EAST)], tmp_path_factory.mktemp("own"), Settings(owner=os.getpid()))
    try:
        with Client(running.address, set_as_default=False) as client:
            yield client
    finally:
        running.stop()


def test_workers_come_back_after_plugins_that_failed(own: Client) -> None:
    for plugin, error in (
        (Failing(), ZeroDivisionError),
        (FailingOnNannies(), ZeroDivisionError),
        (Unreadable(), Exception),
        (UnreadableOnNannies(), Exception),
    ):
        with pytest.raises(error, match=r"ModuleNotFoundError|$"):
            own.register_plugin(plugin, name="failing")
    before = worker_ids(own)
    (pid,) = own.run(os.getpid).values()
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: bool(ids := worker_ids(own)) and ids != before, 30)
    assert compute(own, array(EAST, (4,), 2, 1).sum())[1].misplaced_tasks == 0


def test_who_is_alone_may_restart(own: Client) -> None:
    before = worker_ids(own)
    own.register_plugin(Environ({"OWN": "1"}))
    assert eventually(lambda: bool(ids := worker_ids(own)) and ids != before, 30)
    assert list(own.run(os.getenv, "OWN").values()) == ["1"]


# ---- cancelling -------------------------------------------------------------------------------------------------------


def test_a_forced_cancellation_is_that_of_its_client_alone(cluster: Cluster, neighbour: Client, tmp_path: Path) -> None:
    with computing(cluster.client, tmp_path / "go"):
        same = neighbour.compute(until(tmp_path / "go", EAST).sum())
        neighbour.cancel(same, force=True)
        assert same.cancelled()


def test_cancelling_what_a_running_task_needs_ends_no_client(
    cluster: Cluster, neighbour: Client, tmp_path: Path
) -> None:
    """The intermediate tasks between what is cancelled and the sum are wanted by no client."""
    flag = tmp_path / "own"
    held = neighbour.persist(da.concatenate([until(flag, WEST), until(flag, WEST) * 2, until(flag, EAST)]))
    running = neighbour.compute((held + 1).sum(split_every=2))
    other = neighbour.submit(lambda: 7, key="another-of-the-same-client")
    neighbour.cancel(futures_of(held))
    flag.touch()
    assert other.result(timeout=30) == 7
    assert running.result(timeout=30) == 14
