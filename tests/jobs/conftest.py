"""A project of its own with its pools up: the sample, synthetic months with faults, and analyses of a user's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from xdask_pipelines.resources.pools import Pools
from xdask_pipelines.synthetic import Fault, write_cmip6_member, write_era5_month
from xdask_pipelines.topology import Topology
from xdask_pipelines.upkeep import sync_datasets

REPO = Path(__file__).parents[2]
HOURLY = """
      - {name: hourly, layout: era5-pds, mount: hourly}
      - {name: faulty, layout: era5-pds, mount: faulty}
"""
MODELS = """
      - {name: models, layout: cmip6-pds, mount: models}
"""
ANALYSES = '''
import dagster as dg
import xarray as xr

from xdask_pipelines import climate
from xdask_pipelines.assets import Source, analysis

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2011-01", end_date="2011-08", fmt="%Y-%m", timezone="UTC")


COMMON = dict(partitions_def=MONTHS, preview=climate.mean_of_partials, units="K", valid_range=(150.0, 350.0))
TEMPERATURE = {"variable": "air_temperature_at_2_metres"}


@analysis(sources={"hourly": Source("hourly", TEMPERATURE)}, **COMMON)
def hourly_mean(hourly: xr.DataArray) -> xr.Dataset:
    """Sum and count of one month."""
    return climate.month_partial(hourly)


@analysis(sources={"hourly": Source("faulty", TEMPERATURE)}, **COMMON)
def faulty_mean(hourly: xr.DataArray) -> xr.Dataset:
    """Sum and count of one month that has something wrong."""
    return climate.month_partial(hourly)


@analysis(units="K")
def hourly_long_mean(hourly_mean: xr.Dataset) -> xr.DataArray:
    """Mean of all months."""
    return climate.mean_of_partials(hourly_mean)
'''


@dataclass(frozen=True)
class Project:
    """A project whose pools are up."""

    topology: Topology
    pools: Pools

    def data(self, region: str) -> Path:
        return self.topology.data_folder(region)


def project_folder(folder: Path) -> Path:
    """A copy of what a clone has, with two more datasets."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(REPO / "data", folder / "data", dirs_exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(REPO / name, folder)
    text = (REPO / "regions.yaml").read_text()
    head, tail = text.split("  - region: us-west-2")
    (folder / "regions.yaml").write_text(head.rstrip() + HOURLY + "\n  - region: us-west-2" + tail.rstrip() + MODELS)
    return folder


@pytest.fixture(scope="session")
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
    models = folder / "data" / "us-west-2" / "models"
    for calendar, member in (("360_day", "r1i1p1f2"), ("noleap", "r2i1p1f2"), ("standard", "r3i1p1f2")):
        write_cmip6_member(models, member_id=member, calendar=calendar, shape=(18, 36), years=range(2015, 2018))
    topology = Topology.load(folder / "regions.yaml")
    os.environ["XDASK_TOPOLOGY"] = str(folder / "regions.yaml")
    pools = Pools(topology)
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
    from xdask_pipelines.project import instance

    with instance(project.topology) as found:
        yield found
