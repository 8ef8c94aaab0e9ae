"""A project of its own with its pools up: the sample, synthetic months with faults, and analyses of a user's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import dagster as dg
import pytest

from tests.jobs.lab import ANALYSES, Project, project_folder, write_own_layouts
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.synthetic import Fault, write_cmip6_member, write_era5_month
from xdask_pipelines.topology import Topology


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = project_folder(tmp_path_factory.mktemp("project"))
    (folder / "analyses").mkdir()
    (folder / "analyses" / "hourly.py").write_text(ANALYSES)
    hourly = folder / "data" / "us-east-1" / "hourly"
    for month in (1, 2, 3, 4):
        write_era5_month(hourly, 2011, month, shape=(19, 36), chunks=(48, 19, 36))
    faulty = folder / "data" / "us-east-1" / "faulty"
    for month, fault in ((5, Fault.MISSING_STEP), (6, Fault.WRONG_UNITS), (7, Fault.TRUNCATED)):
        write_era5_month(faulty, 2011, month, shape=(19, 36), chunks=(48, 19, 36), fault=fault)
    mixed = folder / "data" / "us-east-1" / "mixed"
    write_era5_month(mixed, 2011, 4, shape=(19, 36), chunks=(48, 19, 36))
    write_era5_month(mixed, 2011, 5, shape=(19, 36), chunks=(48, 19, 36), fault=Fault.MISSING_STEP)
    copied = folder / "data" / "us-east-1" / "copied"
    write_era5_month(copied, 2011, 8, hours=24, shape=(19, 36), chunks=(24, 19, 36))
    shutil.copytree(copied, folder / "data" / "us-west-2" / "another" / "place")
    models = folder / "data" / "us-west-2" / "models"
    for calendar, member in (("360_day", "r1i1p1f2"), ("noleap", "r2i1p1f2"), ("standard", "r3i1p1f2")):
        write_cmip6_member(models, member_id=member, calendar=calendar, shape=(18, 36), years=range(2015, 2018))
    write_own_layouts(folder / "data" / "us-west-2")
    topology = Topology.load(folder / "regions.yaml")
    os.environ["XDASK_TOPOLOGY"] = str(folder / "regions.yaml")
    pools = LocalPools(topology)
    pools.up()
    try:
        sync_datasets(topology)
        yield Project(topology, pools)
    finally:
        pools.close()
        pools.down()
        del os.environ["XDASK_TOPOLOGY"]


@pytest.fixture
def history(project: Project) -> Iterator[dg.DagsterInstance]:
    """Dagster's history of the project."""
    from xdask_pipelines.operations.project import instance

    with instance(project.topology) as found:
        yield found
