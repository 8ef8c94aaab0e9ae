"""Fixtures that are dear: one cluster of three Regions for all tests that do not break it; and a
catalog in each of its stores."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir
from pathlib import Path
from time import monotonic, sleep
from uuid import uuid4

import dask
import distributed.client
import pytest
from distributed import Client, Scheduler
from xdist.remote import Producer

from infra.rehearsal.servers.s3_server import S3Server, s3_server
from tests.support.catalog_helpers import cmip6, era5
from tests.support.hostile_process import HostileProcess
from tests.support.node_requests import ask, named
from tests.support.places import CENTRAL, CLIENT_REGION, EAST, SETTINGS, WEST, Cluster, worker_ids
from tests.support.recorder import Recorder, is_others
from tests.support.together import Together, order
from xdask_pipelines.catalog import Catalog, Change, open_catalog
from xdask_pipelines.placement import local_regions
from xdask_pipelines.placement.client import self_placing
from xdask_pipelines.placement.graph.fence import know_the_pools
from xdask_pipelines.resources.opensearch.search_node import SearchNode
from xdask_pipelines.topology import absolute_address

REPO = Path(__file__).parents[1]
PLACEMENT = REPO / "tests" / "placement"
# Processes that tests start import helpers by name, as this one does.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three Regions, each with a folder of data and one of results."""
    regions = (EAST, WEST, CENTRAL)
    top = tmp_path_factory.mktemp("regions")
    data = {r: top / r / "data" for r in regions}
    results = {r: top / r / "results" for r in regions}
    for folder in [*data.values(), *results.values(), top / "elsewhere"]:
        folder.mkdir(parents=True)
    (top / "elsewhere/inside.nc").write_bytes(b"a mount may be a link")
    (data[EAST] / "linked").symlink_to(top / "elsewhere")
    with ExitStack() as stack:
        with chdir(top):  # outside a project: a checkout may have certificates, and the hostile client has none
            client = stack.enter_context(local_regions(regions, data=data, results=results, settings=SETTINGS))
        recorder = Recorder(client, {r: top / r for r in regions}, CLIENT_REGION)
        yield Cluster(client, data, results, recorder, worker_ids(client))


@pytest.fixture(scope="session")
def hostile(running: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileProcess]:
    """A second client of the cluster that does what hurts, while tests of placement run."""
    address = running.client.scheduler.address  # type: ignore[union-attr]
    process = HostileProcess(address, tmp_path_factory.mktemp("hostile") / "log", running.data[EAST])
    yield process
    process.end()


@pytest.fixture(scope="module", autouse=True)
def graphs_know_no_scheduler() -> None:
    """Without what a scheduler in this process, which a test of an earlier file started, told graphs of its pools."""
    know_the_pools(held=lambda key: None, staffed=lambda region: True)


@pytest.fixture
def no_default_client_before() -> Iterator[None]:
    """Without the client of the shared cluster, which other tests in this process may have made the default."""
    clients = dict(distributed.client._global_clients)
    distributed.client._global_clients.clear()
    token = distributed.client._current_client.set(None)
    with dask.config.set(scheduler=None):
        yield
    distributed.client._current_client.reset(token)
    distributed.client._global_clients.update(clients)


@pytest.fixture(autouse=True)
def no_project_left_open() -> Iterator[None]:
    """A project that a test leaves open would compute what later tests give to clients of their own."""
    yield
    for placer in self_placing.open_placers():
        self_placing.stop_placing(placer)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Users of the shared cluster first; judge the hostile client after all of them have run."""
    items.sort(key=order)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    """Run tests that share processes in the same process of pytest."""
    return Together(config, log)


@pytest.fixture
def cluster(running: Cluster, hostile: HostileProcess, request: pytest.FixtureRequest) -> Cluster:
    """The running cluster, idle: what the test before left behind would be reused, and not run again.

    Tests of placement have the hostile client beside them, but those marked ``alone``.
    """
    alone = request.node.get_closest_marker("alone") is not None
    hostile.act(request.path.is_relative_to(PLACEMENT) and not alone)
    deadline = monotonic() + 5
    while running.client.run_on_scheduler(_count_tasks, alone) and monotonic() < deadline:
        gc.collect()  # a traceback that failed tests keep may hold futures
        sleep(0.02)
    return running


@pytest.fixture
def neighbour(cluster: Cluster) -> Iterator[Client]:
    """A second client of the same pools."""
    with Client(cluster.client.scheduler.address, set_as_default=False) as client:  # type: ignore[union-attr]
        yield client


def _count_tasks(everybodys: bool, dask_scheduler: Scheduler | None = None) -> int:
    assert dask_scheduler is not None
    return sum(everybodys or is_others(dask_scheduler, key) for key in dask_scheduler.tasks)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes an empty bucket, and makes boto3 of this process ask the server; its answer is the bucket's address."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)

    def make(name: str = "") -> str:
        name = name or f"b{uuid4().hex}"
        s3.client().create_bucket(Bucket=name)
        return f"s3://{name}"

    return make


@pytest.fixture(scope="session")
def search_node() -> Iterator[str]:
    """Address of a catalog on a real OpenSearch node: the one that is named, or one that is started here."""
    if address := os.environ.get("XDASK_OPENSEARCH_URL"):
        yield absolute_address(address, REPO)
        return
    node = SearchNode(REPO / "var" / "opensearch")
    was_up = node.address() is not None
    yield node.up(print)
    if not was_up:
        node.down()


@pytest.fixture
def own_node(tmp_path: Path) -> Iterator[SearchNode]:
    """A node of one test alone, not started yet, with the jars that the other one has."""
    jars = REPO / "var" / "opensearch" / "jars"
    node = SearchNode(tmp_path / "node of our own")
    node.folder.mkdir()
    if jars.is_dir():
        (node.folder / "jars").symlink_to(jars)
    try:
        yield node
    finally:
        node.down()


@pytest.fixture
def node_address(search_node: str) -> Iterator[str]:
    """Of a catalog on the node that does not exist yet. Afterwards it is removed, with all whose names begin with its name:
    a node takes a thousand indices."""
    name = f"t{secrets.token_hex(8)}"
    yield named(search_node, name)
    ask(search_node, "DELETE", f"/{name}*")


@pytest.fixture(params=["sqlite", pytest.param("opensearch", marks=pytest.mark.opensearch)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a catalog that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/a folder/100%?.sqlite"
    return str(request.getfixturevalue("node_address"))


@pytest.fixture
def catalog(address: str) -> Catalog:
    return open_catalog(address)


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """A year of two ERA5 variables, and two members of two experiments."""
    months = [f"2011-{m:02}" for m in range(1, 13)]
    catalog.commit(
        Change([era5(month, variable) for month in months for variable in ("air_temperature", "air_pressure")])
    )
    catalog.commit(Change([cmip6(m, x) for m in ("r1i1p1f1", "r2i1p1f1") for x in ("ssp245", "ssp585")]))
    return catalog
