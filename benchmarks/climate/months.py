"""`python -m benchmarks.climate.months`: what a further month costs in addition to reading it, in Dagster on a local pool.

Belongs here: a project of small months, and the seconds of its runs. Does not belong here: reading a month (__main__).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil

from xdask_pipelines.operations.project import instance, run_assets
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.synthetic import write_era5_month
from xdask_pipelines.topology import Topology

REGION = "us-east-1"
MONTHS = [f"{2011 + i // 12}-{i % 12 + 1:02}" for i in range(126)]
_REGIONS = f"""
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
workers:
  - region: {REGION}
    cidr: 10.1.0.0/16
    datasets:
      - {{name: months, layout: era5-pds, mount: months, excerpt: true}}
"""
_ANALYSIS = '''
import dagster as dg
import xarray as xr

from xdask_pipelines import climate
from xdask_pipelines.assets import Source, analysis

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2011-01", end_date="2021-07", fmt="%Y-%m", timezone="UTC")
SOURCE = Source("months", {"variable": "air_temperature_at_2_metres"})


@analysis(sources={"hourly": SOURCE}, partitions_def=MONTHS, preview=climate.mean_of_partials, units="K")
def monthly(hourly: xr.DataArray) -> xr.Dataset:
    """Sum and count of one month."""
    return climate.month_partial(hourly)
'''


@contextmanager
def small_months() -> Iterator[tuple[Topology, LocalPools]]:
    """Write a project of 126 small months, start its pools, and sync; everything is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="xdask-months-") as name:
        folder = Path(name)
        (folder / "analyses").mkdir()
        (folder / "analyses/monthly.py").write_text(_ANALYSIS)
        (folder / "regions.yaml").write_text(_REGIONS)
        for key in MONTHS:
            year, month = map(int, key.split("-"))
            write_era5_month(folder / "data" / REGION / "months", year, month, hours=24, shape=(19, 36))
        os.environ["XDASK_TOPOLOGY"] = str(folder / "regions.yaml")
        topology = Topology.load(folder / "regions.yaml")
        pools = LocalPools(topology)
        pools.up()
        try:
            sync_datasets(topology)
            yield topology, pools
        finally:
            pools.close()
            pools.down()


def main() -> None:
    """Materialize the months of the project, and print what they took."""
    with small_months() as (topology, pools):
        _measure(topology, pools)


def _measure(topology: Topology, pools: LocalPools) -> None:
    with instance(topology) as history:

        def cost(*months: str) -> np.ndarray:
            """Seconds on the wall, and of CPU in this process, the scheduler and the workers."""
            began, before = perf_counter(), _cpu()
            run_assets(topology, pools, history, ["monthly"], partitions=months)
            return np.array([perf_counter() - began, _cpu() - before])

        cost(MONTHS[0])
        early = np.median([cost(month) for month in MONTHS[1:6]], axis=0)
        further = cost(MONTHS[6], MONTHS[119]) / 114
        late = np.median([cost(month) for month in MONTHS[120:125]], axis=0)
    print(f"{'':36}{'s':>8}{'CPU s':>8}")
    for name, found in (("a month by itself", early), ("114 months together, each", further)):
        print(f"{name:36}{found[0]:8.2f}{found[1]:8.2f}")
    print(
        f"{'a month by itself, after 120':36}{late[0]:8.2f}{late[1]:8.2f}   {late[1] / early[1]:.2f} times the first, in CPU"
    )


def _cpu() -> float:
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))


if __name__ == "__main__":
    main()
