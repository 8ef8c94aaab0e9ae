"""A project whose pools are up, for what a notebook does: the sample, and twelve synthetic months of three calendars."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.real_kernel import Kernel
from xdask_pipelines import open_project
from xdask_pipelines.notebook import Project
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.synthetic import write_cmip6_member
from xdask_pipelines.topology import Topology

REPO = Path(__file__).parents[2]
MODELS = "\n      - {name: models, layout: cmip6-pds, mount: models, license: CC-BY-4.0}\n"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a project with running pools and a synced catalog."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(REPO / "data", folder / "data")
    (folder / "regions.yaml").write_text((REPO / "regions.yaml").read_text().rstrip() + MODELS)
    models = folder / "data" / "us-west-2" / "models"
    for calendar, member in (("360_day", "r1i1p1f2"), ("noleap", "r2i1p1f2"), ("standard", "r3i1p1f2")):
        write_cmip6_member(models, member_id=member, calendar=calendar, shape=(18, 36), years=range(2015, 2017))
    topology = Topology.load(folder / "regions.yaml")
    pools = LocalPools(topology)
    pools.up()
    try:
        sync_datasets(topology)
        yield folder
    finally:
        pools.close()
        pools.down()


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    """The project, opened."""
    with open_project(folder / "regions.yaml") as opened:
        yield opened


@pytest.fixture(autouse=True)
def alone(no_default_client_before: None) -> None:
    """As in a notebook, no client is the default."""


@pytest.fixture
def kernel(folder: Path) -> Iterator[Kernel]:
    yield Kernel(folder)
    for path in [*(folder / "var/selections").glob("*"), *(folder / "analyses").glob("*.py")]:
        path.unlink()
