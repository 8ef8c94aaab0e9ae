"""`make tour`: a year of 0.25 degree hours and three members in two Regions, from empty folders to a published report.

Belongs here: the project of the tour, its steps, and the summary. Does not belong here: the analyses (assets), measuring
against other ways (``benchmarks.climate``).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.two_regions import EAST, WEST, regions
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.progress import bars
from xdask_pipelines.operations.project import instance, run_assets
from xdask_pipelines.operations.records.written_report import report_result
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.placement import Evidence
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month
from xdask_pipelines.system.units import format_bytes
from xdask_pipelines.topology import Topology

YEAR = 2011
#: Warming of the synthetic members, K per year; what the summary must find again.
WARMING = 0.03
#: Years from the middle of 1995-2014 to that of 2081-2100.
YEARS_BETWEEN = 86
#: What months that are no instants and rounding to 1/32 K may change of it, K.
_TOLERANCE = 0.02
#: Model, member, Region, calendar, grid. The main job uses the first.
MEMBERS = (
    ("UKESM1-0-LL", "r1i1p1f2", WEST, "360_day", (144, 192)),
    ("UKESM1-0-LL", "r2i1p1f2", EAST, "360_day", (144, 192)),
    ("CESM2", "r1i1p1f1", WEST, "noleap", (192, 288)),
)
_EXPERIMENTS = {"historical": range(1995, 2015), "ssp245": range(2015, 2101)}
_RUN = {"source_id": MEMBERS[0][0], "member_id": MEMBERS[0][1], "table_id": "Amon"}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "era5_historic_temp_regridded": {**_RUN, "experiment_id": "historical"},
    "cmip6_predicted_tas_regridded": {**_RUN, "experiment_id": "ssp245", "first": "2081", "last": "2100"},
    "cmip6_reference_tas_regridded": {**_RUN, "experiment_id": "historical", "first": "1995", "last": "2014"},
}
#: The steps after the sync, with their assets.
STEPS: Mapping[str, Sequence[str]] = {
    "monthly partials": ("era5_monthly_mean",),
    "means and regridding": tuple(CONFIGS),
    "difference, bias, signal": ("temperature_difference", "model_bias", "climate_signal"),
    "ensemble of three members": ("cmip6_ensemble_change",),
}
PUBLISHED = ("temperature_difference", "climate_signal", "cmip6_ensemble_change")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much data there is: months of one year, hours of each, rows and columns of the hourly grid."""

    months: int = 12
    hours: int = 96
    shape: tuple[int, int] = (721, 1440)


@dataclass
class Summary:
    """What a tour did.

    Attributes
    ----------
    seconds
        By step.
    evidence
        By step that computed.
    means
        Area-weighted means of the assets, K.
    pictures, reports
        Files by asset.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    means: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Return whether both signals are the one that was written, and no task was misplaced."""
        signals = (self.means["climate_signal"], self.means["cmip6_ensemble_change"])
        known = all(abs(signal - WARMING * YEARS_BETWEEN) < _TOLERANCE for signal in signals)
        return known and Evidence.total(self.evidence.values()).misplaced_tasks == 0

    def lines(self) -> list[str]:
        """Return the summary as text: tasks and bytes of each step by Region, seconds, figures, files."""
        head = f"{'step':28}{'s':>7}  {'Region':12}{'tasks':>7}{'read':>10}{'sent':>10}"
        lines = [head, "-" * len(head)]
        for step, seconds in self.seconds.items():
            begin = f"{step:28}{seconds:7.1f}"
            rows = _rows(self.evidence[step]) if step in self.evidence else []
            lines += [f"{begin if i == 0 else '':35}  {row}" for i, row in enumerate(rows)] or [begin]
        total = Evidence.total(self.evidence.values())
        lines.append("-" * len(head))
        lines += [
            f"{f'all, {total.misplaced_tasks} misplaced' if i == 0 else '':28}"
            f"{f'{sum(self.seconds.values()):.1f}' if i == 0 else '':>7}  {row}"
            for i, row in enumerate(_rows(total))
        ]
        lines += [
            "",
            *(f"{name:32}{mean:+9.3f} K" for name, mean in self.means.items()),
            f"{'signal as it was written':32}{WARMING * YEARS_BETWEEN:+9.3f} K",
            "",
        ]
        lines += [f"picture  {path}" for path in self.pictures.values()]
        return [*lines, *(f"report   {address}" for address in self.reports.values())]


def _rows(evidence: Evidence) -> list[str]:
    """Return one line for each Region: tasks, bytes read from files, bytes sent to other Regions."""
    lines = []
    for region in sorted(evidence.tasks_by_region.keys() | evidence.bytes_read_by_region.keys()):
        sent = sum(n for pair, n in evidence.bytes_across.items() if pair.startswith(f"{region}->"))
        read = format_bytes(evidence.bytes_read_by_region.get(region, 0))
        lines.append(f"{region:12}{evidence.tasks_by_region.get(region, 0):7,}{read:>10}{format_bytes(sent):>10}")
    return lines


def write_data(data: Path, size: Size, say: Say = lambda line: None) -> None:
    """Write the files that are not there, two at a time; a file is written elsewhere and then moved, never left in part."""
    jobs: dict[str, Callable[[], Path]] = {}
    for month in range(1, size.months + 1):
        path = data / EAST / "era5" / f"{YEAR}" / f"{month:02}"
        if not path.exists():
            options = {"hours": size.hours, "shape": size.shape, "roughness": 0.018}
            jobs[f"era5 {YEAR}-{month:02}"] = partial(write_era5_month, data / EAST / "era5", YEAR, month, **options)
    for model, member, region, calendar, shape in MEMBERS:
        for experiment, years in _EXPERIMENTS.items():
            root = data / region / "cmip6"
            if not list(root.glob(f"*/MOHC/{model}/{experiment}/{member}/Amon/tas/gn/v*")):
                options = {"source_id": model, "member_id": member, "calendar": calendar, "shape": shape}
                options |= {"experiment_id": experiment, "years": years, "warming": WARMING, "seed": len(model)}
                jobs[f"cmip6 {model} {member} {experiment}"] = partial(write_cmip6_member, root, **options)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as writers:
        names = {writers.submit(job): name for name, job in jobs.items()}
        for number, done in enumerate(as_completed(names), 1):
            done.result()
            say(f"wrote {names[done]} ({number} of {len(names)})")


def _synced(place: Mapping[str, Any]) -> str:
    """Return a line of what a sync did; raise ``XdaskError`` if it failed."""
    if "counts" not in place:
        raise XdaskError(f"{place['dataset']} in {place['region']} cannot be synced: {place['message']}")
    counts = {name: n for name, n in place["counts"].items() if name != "bytes_to_read"}
    return f"{place['dataset']} in {place['region']}: " + ", ".join(f"{n} {name}" for name, n in counts.items())


def tour(folder: Path, size: Size | None = None, say: Say = print) -> Summary:
    """Write the data if they are not there, and do everything else from the beginning.

    Parameters
    ----------
    folder
        Folder of the tour, with a project of its own. Catalog, results and reports of an earlier tour are removed.
    size
        How much data; None for `Size()`. A folder keeps the size with which it was written first.
    say
        Called with a line of progress.

    Returns
    -------
    Seconds, evidence, means and files.
    """
    size, summary, began = size or Size(), Summary(), perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "regions.yaml").write_text(regions(models_in_both=True))
    os.environ["XDASK_TOPOLOGY"] = str(folder / "regions.yaml")
    topology = Topology.load(folder / "regions.yaml")

    def timed(line: str) -> None:
        say(f"[{perf_counter() - began:6.1f} s] {line}")

    @contextmanager
    def step(name: str) -> Iterator[None]:
        timed(name)
        start = perf_counter()
        yield
        summary.seconds[name] = perf_counter() - start

    with step("data"):
        write_data(folder / "data", size, timed)
    with bars() as watch:
        pools = LocalPools(topology, watch)
        pools.down()  # of a tour that was interrupted
        shutil.rmtree(topology.var, ignore_errors=True)
        try:
            with step("pools"):
                pools.up(timed)
            with step("sync"):
                for place in sync_datasets(topology):
                    timed(_synced(place))
            with instance(topology) as history:
                for name, assets in STEPS.items():
                    months = (f"{YEAR}-01", f"{YEAR}-{size.months:02}") if "era5_monthly_mean" in assets else ()
                    configs = {asset: CONFIGS[asset] for asset in assets if asset in CONFIGS}
                    with step(name):
                        done = run_assets(topology, pools, history, assets, configs=configs, partitions=months)
                    summary.evidence[name] = Evidence.total(
                        Evidence.from_dict(done.metadata[asset]["evidence"]) for asset in assets
                    )
                    for asset in assets:
                        summary.pictures[asset] = Path(done.metadata[asset]["picture_file"])
                        summary.means[asset] = done.metadata[asset]["area_weighted_mean"]
            with step("reports"):
                for asset in PUBLISHED:
                    summary.reports[asset] = report_result(topology, asset)
        finally:
            pools.close()
            pools.down()
    return summary


def main() -> None:
    """Run the tour and print its summary."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.climate_tour", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var/tour"), help="where the project of the tour is")
    parser.add_argument("--months", type=int, default=12, choices=range(1, 13), help="months of hourly data")
    parser.add_argument("--hours", type=int, default=96, help="hours of each month, from its first")
    given = parser.parse_args()
    size = Size(given.months, given.hours)
    folder = given.folder.resolve() / f"{size.months}x{size.hours}"
    print(f"A project in {folder}: {size.months} months of {size.hours} h, {len(MEMBERS)} members, two Regions\n")
    summary = tour(folder, size)
    print("\n" + "\n".join(summary.lines()))
    if not summary.is_right:
        sys.exit("The signal is not the one that was written, or a task was misplaced: the figures above are wrong.")


if __name__ == "__main__":
    main()
