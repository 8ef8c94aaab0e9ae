"""The project of the measurement: 120 months with one day of hours each, one whole month, and one member of a model.

Belongs here: the files and the topology. Does not belong here: running anything on them (recording), the jobs (__main__).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.two_regions import EAST, WEST, regions
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month
from xdask_pipelines.topology import Topology

#: Packs 6.6 times, as the files of the public bucket do.
_ROUGHNESS = 0.018
_MEMBER = {"source_id": "UKESM1-0-LL", "member_id": "r1i1p1f2", "experiment_id": "ssp245"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Decade:
    """How much data there is.

    Attributes
    ----------
    months
        Months from 2011-01 that have one day of hours each.
    hours
        Hours of the month after them; 744 is a whole one.
    shape
        Rows and columns of the hourly grid.
    """

    months: int = 120
    hours: int = 744
    shape: tuple[int, int] = (721, 1440)

    @property
    def keys(self) -> tuple[str, ...]:
        """Partition keys of the months with one day."""
        return tuple(self._key(i) for i in range(self.months))

    @property
    def whole(self) -> str:
        """Partition key of the whole month: the first January after the others."""
        return f"{2011 + -(-self.months // 12)}-01"

    @property
    def run(self) -> dict[str, str]:
        """Config of assets that read the member."""
        return {**_MEMBER, "table_id": "Amon"}

    def _key(self, i: int) -> str:
        return f"{2011 + i // 12}-{i % 12 + 1:02}"


def written(folder: Path, size: Decade, say: Say) -> Topology:
    """Write the files that are not there, two at a time, and return the topology of the project.

    Parameters
    ----------
    folder
        Folder of the project; 120 months and a whole one take 2.3 GB and three minutes on two cores.
    size
        How much data. A folder keeps the size with which it was written first.
    say
        Called with lines of progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "regions.yaml").write_text(regions(models_in_both=False))
    era5, cmip6 = folder / "data" / EAST / "era5", folder / "data" / WEST / "cmip6"
    jobs: dict[str, Callable[[], Path]] = {}
    for key, hours in [(size.whole, size.hours), *((key, 24) for key in size.keys)]:
        year, month = map(int, key.split("-"))
        if not list(era5.glob(f"{year}/{month:02}/data/*.nc")):
            jobs[f"{hours} h of {key}"] = partial(
                write_era5_month, era5, year, month, hours=hours, shape=size.shape, roughness=_ROUGHNESS
            )
    if not list(cmip6.glob("*/*/*/*/*/*/*/*/v*")):
        jobs["a member of a model"] = partial(
            write_cmip6_member, cmip6, **_MEMBER, years=range(2015, 2101), calendar="360_day"
        )
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as writers:
        names = {writers.submit(job): name for name, job in jobs.items()}
        for number, done in enumerate(as_completed(names), 1):
            done.result()
            if number % 10 == 0 or number == len(names):
                say(f"wrote {number} of {len(names)} files, the last one {names[done]}")
    os.environ["XDASK_TOPOLOGY"] = str(folder / "regions.yaml")
    return Topology.load(folder / "regions.yaml")
