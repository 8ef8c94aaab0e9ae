"""Workers that users start themselves: what cannot be a worker of its pool is refused by name when it joins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.places import CENTRAL, EAST, WEST, Cluster, eventually, workers
from xdask_pipelines.placement.worker.guard import RESULTS_VARIABLE, ROOT_VARIABLE
from xdask_pipelines.topology.names import pool_name

PRELOAD = ("--preload", "xdask_pipelines.placement.preload")
NAME = "started-by-hand"


def command(cluster: Cluster, *resources: str, nanny: bool = False) -> list[str]:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    words = [sys.executable, "-m", "dask", "worker", address, "--host", "127.0.0.1", "--no-dashboard", "--name", NAME]
    words += ["--nanny" if nanny else "--no-nanny", "--dashboard-address", "127.0.0.1:0", *PRELOAD]
    return words + (["--resources", " ".join(f"{r}=1" for r in resources)] if resources else [])


def refused(cluster: Cluster, *pools: str, nanny: bool = False, **folders: Path | None) -> str:
    """What a worker says that is refused; the other workers are left as they are."""
    before = names(cluster)
    environment = {k: v for k, v in os.environ.items() if k not in (ROOT_VARIABLE, RESULTS_VARIABLE)}
    environment |= {name: str(folder) for name, folder in folders.items() if folder}
    words = [*command(cluster, *pools, nanny=nanny), "--death-timeout", "20"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert names(cluster) == before
    return ended.stdout + ended.stderr


def names(cluster: Cluster) -> set[str]:
    return {w["name"] for w in workers(cluster.client).values()}


@pytest.fixture
def own(cluster: Cluster) -> dict[str, dict[str, Path]]:
    """Folders of each Region, none of them empty."""
    for region in (EAST, WEST):
        for folder, name in ((cluster.data[region], f"data-{region}"), (cluster.results[region], f"results-{region}")):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    return {r: {ROOT_VARIABLE: cluster.data[r], RESULTS_VARIABLE: cluster.results[r]} for r in (EAST, WEST)}


@contextmanager
def joined(cluster: Cluster, *pools: str, **folders: Path) -> Iterator[str]:
    """Address of a worker that was let in."""
    environment = {**os.environ, **{name: str(folder) for name, folder in folders.items()}}
    with subprocess.Popen(
        command(cluster, *pools), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert eventually(lambda: NAME in names(cluster), 30)
            yield next(address for address, w in workers(cluster.client).items() if w["name"] == NAME)
        finally:
            process.terminate()
            process.wait(20)
            assert eventually(lambda: NAME not in names(cluster), 30)


def test_a_worker_with_the_folders_of_its_region_joins_and_keeps_its_pool(
    cluster: Cluster, own: dict[str, dict[str, Path]]
) -> None:
    async def move(dask_worker: object) -> None:
        await dask_worker.set_resources(**{pool_name(WEST): 1})  # type: ignore[attr-defined]

    async def add(dask_worker: object) -> None:
        await dask_worker.set_resources(GPU=2)  # type: ignore[attr-defined]

    with joined(cluster, pool_name(EAST), **own[EAST]) as address:
        with pytest.raises(Exception, match=f"set_resources cannot change {pool_name(WEST)} of the running worker"):
            cluster.client.run(move, workers=[address])
        cluster.client.run(add, workers=[address])
        resources = workers(cluster.client)[address]["resources"]
        assert resources == {pool_name(EAST): 1, "GPU": 2}


@pytest.mark.parametrize("nanny", [False, True])
def test_the_folder_of_another_region_is_refused(
    cluster: Cluster, own: dict[str, dict[str, Path]], nanny: bool
) -> None:
    said = refused(cluster, pool_name(WEST), nanny=nanny, **own[EAST])
    assert (
        f"asks to join {pool_name(WEST)}, but its folder {cluster.data[EAST]} ({ROOT_VARIABLE}) belongs to pool-{EAST}"
        in said
    )


def test_a_pool_that_has_no_worker_yet_gets_no_folder_of_another(
    cluster: Cluster, own: dict[str, dict[str, Path]]
) -> None:
    assert f"belongs to {pool_name(EAST)}" in refused(cluster, "pool-eu-central-9", **own[EAST])


def test_results_of_another_region_are_refused_too(cluster: Cluster, own: dict[str, dict[str, Path]]) -> None:
    said = refused(cluster, pool_name(WEST), **own[WEST] | {RESULTS_VARIABLE: cluster.results[EAST]})
    assert f"({RESULTS_VARIABLE}) belongs to {pool_name(EAST)}" in said


def test_no_folder_where_the_pool_has_one_is_refused(cluster: Cluster, own: dict[str, dict[str, Path]]) -> None:
    said = refused(cluster, pool_name(EAST))
    assert f"its folder is unknown ({ROOT_VARIABLE} is not set)" in said


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_holds_none_of_what_its_pool_sees_is_refused(
    cluster: Cluster, own: dict[str, dict[str, Path]], tmp_path: Path, exists: bool
) -> None:
    folder = tmp_path / "own"
    if exists:
        folder.mkdir()
        (folder / "something-else").touch()
    said = refused(cluster, pool_name(EAST), **own[EAST] | {ROOT_VARIABLE: folder})
    assert (
        f"its folder {folder} ({ROOT_VARIABLE}) contains none of the files that the other workers of the pool see"
        in said
    )


def test_a_folder_that_a_sync_has_changed_since_is_compared_as_it_is_now(
    cluster: Cluster, own: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    data = cluster.data[EAST]
    kept = {path: path.rename(tmp_path / path.name) for path in list(data.iterdir())}
    try:
        (data / "new").touch()
        with joined(cluster, pool_name(EAST), **own[EAST]) as address:
            assert address
    finally:
        (data / "new").unlink()
        for path, moved in kept.items():
            moved.rename(path)


def test_two_pools_are_refused(cluster: Cluster) -> None:
    said = refused(cluster, pool_name(EAST), pool_name(CENTRAL))
    assert f"asks to join 2 pools ({', '.join(sorted((pool_name(EAST), pool_name(CENTRAL))))})" in said
