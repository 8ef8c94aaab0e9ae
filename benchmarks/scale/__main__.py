"""`make bench-scale`: three jobs on one and two real processes a Region, and simulated on more; a table and a picture.

Belongs here: the jobs, their runs, and the table. Does not belong here: data (decade), recording (recording), simulating
(replay), the picture (drawing).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.scale import published
from benchmarks.scale.decade import EAST, WEST, Decade, written
from benchmarks.scale.drawing import Lines, draw
from benchmarks.scale.recording import RecordingPools
from benchmarks.scale.replay import MonthCost, Run, decade_seconds, pooled, read_seconds, run_seconds
from xdask_pipelines.operations.project import instance, run_assets
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.partitions import partitions_of_a_run
from xdask_pipelines.topology import Topology

MONTHLY, HISTORIC, PREDICTED, DIFFERENCE = (
    *("era5_monthly_mean", "era5_historic_temp_regridded"),
    *("cmip6_predicted_tas_regridded", "temperature_difference"),
)
#: The runs of each job. Each asset is run once, and its seconds count in all jobs that need it.
JOBS: Mapping[str, Sequence[str]] = {
    published.CMIP6: (PREDICTED,),
    published.ERA5: (MONTHLY, HISTORIC),
    published.DIFFERENCE: (PREDICTED, MONTHLY, HISTORIC, DIFFERENCE),
}
#: Processes of each pool.
REAL, SMALL = (1, 2), tuple(range(1, 13))
LARGE = tuple(task * published.PROCESSES_OF_A_TASK for task in published.TASKS)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Records:
    """Runs by asset, for each number of processes; and runs of the whole month by itself."""

    runs: Mapping[int, Mapping[str, Run]]
    whole: Sequence[Run]


@dataclass(frozen=True)
class Figures:
    """Seconds by job and processes: measured, simulated for the same data, simulated for ten years; and what they rest on.

    Attributes
    ----------
    measured
        Of the short months, on this machine.
    own
        Simulated for the same processes, from the tasks of the same runs: what the simulation itself is wrong by.
    small, decade
        Simulated for any number of processes, from the tasks of the runs with one process a Region.
    working
        Of the simulated seconds of ten years of ERA5, those in which the pools have work.
    read
        Thread-seconds of the tasks that read a whole month.
    cost
        Seconds outside of the pools.
    """

    measured: Lines
    own: Lines
    small: Lines
    decade: Lines
    working: Mapping[int, float]
    read: Sequence[float]
    cost: MonthCost

    def lines(self) -> list[str]:
        """Return the tables as text."""
        head = f"{'processes in each pool':32}"
        rows = [f"{'processes in each pool':44}" + "".join(f"{n:>9}" for n in REAL)]
        for job in JOBS:
            rows.append(f"{job + ', measured, s':44}" + "".join(f"{self.measured[job][n]:9.1f}" for n in REAL))
            for name, line in {"the same run": self.own[job], "one process": self.small[job]}.items():
                ratios = "".join(f"{line[n] / self.measured[job][n]:9.2f}" for n in REAL)
                rows.append(f"{f'  simulated from tasks of {name}':44}" + ratios + "  times the measured")
        rows += ["", head + "".join(f"{n:>9}" for n in SMALL)]
        for job in JOBS:
            rows.append(f"{job + ', simulated, s':32}" + "".join(f"{self.small[job][n]:9.1f}" for n in SMALL))
        rows += ["", f"{'worker tasks of 10 processes':44}" + "".join(f"{n:>9}" for n in published.TASKS)]
        for job in JOBS:
            ours, theirs = self.decade[job], published.SECONDS[job]
            rows.append(f"{job + ', ten years, simulated, s':44}" + "".join(f"{ours[n]:9.1f}" for n in LARGE))
            rows.append(f"{job + ', ten years, published, s':44}" + "".join(f"{s:9.1f}" for s in theirs))
        rows.append(f"{'ERA5, seconds with work for the pools':44}" + "".join(f"{self.working[n]:9.1f}" for n in LARGE))
        return [
            *rows,
            "",
            f"read of a whole month {sum(self.read):.2f} thread-seconds in {len(self.read)} tasks; "
            f"outside of the pools {self.cost.run:.2f} s a run and {self.cost.month:.3f} s a month",
        ]


@contextmanager
def _pools(topology: Topology, processes: int) -> Iterator[RecordingPools]:
    """Start pools of so many processes with one thread."""
    pools = RecordingPools(topology)
    pools.down()  # of a measurement that was interrupted
    try:
        pools.up()
        for region in (EAST, WEST):
            if processes > 1:
                pools.start_instances(region, processes - 1, lambda line: None)
        threads = pools.client().nthreads().values()
        if sorted(threads) != [1] * (2 * processes):
            raise SystemExit(f"a Region needs {processes} processes with one thread, and there are {sorted(threads)}")
        yield pools
    finally:
        pools.close()
        pools.down()


def record(topology: Topology, size: Decade, rounds: int, say: Say) -> Records:
    """Run every asset on one and on two processes a Region, and the whole month by itself on one.

    Parameters
    ----------
    topology, size
        The project.
    rounds
        How often the assets without partitions and the whole month are run after the first time; the run with the median of
        the seconds is kept. The range of months is run once.
    say
        Called with lines of progress.
    """
    shutil.rmtree(topology.var, ignore_errors=True)
    period = {"first": size.keys[0], "last": size.keys[-1]}
    configs = {PREDICTED: {**size.run, "first": "2081", "last": "2100"}, HISTORIC: {**size.run, **period}}
    runs: dict[int, dict[str, Run]] = {}
    whole: list[Run] = []
    for processes in REAL:
        with _pools(topology, processes) as pools, instance(topology) as history:
            if processes == REAL[0]:
                sync_datasets(topology)

            def run(asset: str, *partitions: str, pools=pools, history=history) -> Run:
                pools.phases = []
                began = perf_counter()
                config = {asset: configs[asset]} if asset in configs else {}
                run_assets(topology, pools, history, [asset], configs=config, partitions=partitions)
                return Run(perf_counter() - began, tuple(pools.phases))

            run(MONTHLY, size.keys[0])  # new processes import, and compile with Numba
            if processes == 1:
                whole = [run(MONTHLY, size.whole) for _ in range(rounds + 1)][1:]
                say(f"a month of {size.hours} hours by itself: {whole[-1].seconds:.1f} s")
            runs[processes] = {MONTHLY: run(MONTHLY, size.keys[0], size.keys[-1])}
            say(f"{processes} a Region: {size.months} months in {runs[processes][MONTHLY].seconds:.1f} s")
            for asset in (HISTORIC, PREDICTED, DIFFERENCE):
                each = sorted([run(asset) for _ in range(rounds + 1)][1:], key=lambda done: done.seconds)
                runs[processes][asset] = each[len(each) // 2]
                say(f"{processes} a Region: {asset} in {runs[processes][asset].seconds:.1f} s")
    return Records(runs, whole)


def figures(records: Records, topology: Topology, size: Decade) -> Figures:
    """Return the seconds of the jobs, measured and simulated, from the records with one process a Region."""
    settings = RecordingPools(topology).settings()
    one = records.runs[1]
    read = read_seconds(records.whole)
    by_itself = statistics.median(run.outside for run in records.whole)
    alone = Run(by_itself, ())
    cost = MonthCost.between(alone, one[MONTHLY], size.months)
    measured = {
        job: {n: sum(runs[asset].seconds for asset in assets) for n, runs in records.runs.items()}
        for job, assets in JOBS.items()
    }
    here = {n: pooled(settings, n, one_machine=True) for n in SMALL}
    small = {
        job: {n: sum(run_seconds(one[asset], here[n]) for asset in assets) for n in SMALL}
        for job, assets in JOBS.items()
    }
    own = {
        job: {n: sum(run_seconds(runs[asset], here[n]) for asset in assets) for n, runs in records.runs.items()}
        for job, assets in JOBS.items()
    }
    far = {n: pooled(settings, n, one_machine=False) for n in LARGE}
    months = {
        n: decade_seconds(one[MONTHLY], size.months, read, cost, far[n], batch=partitions_of_a_run(far[n]))
        for n in LARGE
    }
    decade = {
        job: {
            n: sum(months[n][0] if asset == MONTHLY else run_seconds(one[asset], far[n]) for asset in assets)
            for n in LARGE
        }
        for job, assets in JOBS.items()
    }
    return Figures(measured, own, small, decade, {n: working for n, (_, working) in months.items()}, read, cost)


def main() -> None:
    """Write the data if they are not there, run, simulate, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var/bench/scale"), help="where the project is")
    parser.add_argument("--months", type=int, default=120, help="months with one day of hours")
    parser.add_argument("--rounds", type=int, default=3, help="runs of the short assets; medians are of these")
    parser.add_argument("--picture", type=Path, default=Path("var/bench/scale/scaling.png"), help="PNG file to write")
    given = parser.parse_args()
    size, began = Decade(given.months), perf_counter()

    def say(line: str) -> None:
        print(f"[{perf_counter() - began:6.1f} s] {line}", flush=True)

    topology = written(given.folder.resolve() / f"{size.months}x{size.hours}", size, say)
    found = figures(record(topology, size, given.rounds, say), topology, size)
    print("\nMeasured on this machine with 1 and 2 processes a Region; everything else is simulated or published.\n")
    print("\n".join(found.lines()))
    draw(given.picture, found.measured, found.small, found.decade)
    print(f"\npicture {given.picture}")


if __name__ == "__main__":
    main()
