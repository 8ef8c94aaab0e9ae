"""Fixtures that are dear: one cluster of three Regions for all tests that do not break it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest
from distributed import Client, Scheduler
from recorder import Recorder

from xdask_pipelines.placement import local_regions
from xdask_pipelines.placement.preload import Settings

# Processes that tests start import helpers by name, as this one does.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))

EAST, WEST, CENTRAL = "us-east-1", "us-west-2", "eu-central-1"
CLIENT_REGION = "eu-west-2"
#: One pair is dear, so that tests can tell prices from bytes.
SETTINGS = Settings(
    client_region=CLIENT_REGION, prices={f"{CENTRAL}->{EAST}": 9.0, f"{CENTRAL}->{WEST}": 9.0}, empty_pool_seconds=8.0
)


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its client, each Region's folders, and who watches it."""

    client: Client
    data: dict[str, Path]
    results: dict[str, Path]
    recorder: Recorder


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three Regions, each with a folder of data and one of results."""
    regions = (EAST, WEST, CENTRAL)
    top = tmp_path_factory.mktemp("regions")
    data = {r: top / r / "data" for r in regions}
    results = {r: top / r / "results" for r in regions}
    for folder in [*data.values(), *results.values()]:
        folder.mkdir(parents=True)
    with local_regions(regions, data=data, results=results, settings=SETTINGS) as client:
        yield Cluster(client, data, results, Recorder(client, {r: top / r for r in regions}, CLIENT_REGION))


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """The running cluster, idle: what the test before left behind would be reused, and not run again."""
    deadline = monotonic() + 5
    while running.client.run_on_scheduler(_count_tasks) and monotonic() < deadline:
        gc.collect()  # a traceback that failed tests keep may hold futures
        sleep(0.02)
    return running


def _count_tasks(dask_scheduler: Scheduler | None = None) -> int:
    return len(dask_scheduler.tasks)  # type: ignore[union-attr]
