"""`python -m benchmarks.many_workers`: a hundred worker processes in five Regions, placed and then with plain Dask.

Belongs here: what is measured of both ways, and the table. Does not belong here: starting their processes (many_processes),
one worker or no network (scheduler), a wide-area network (wan).
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time, sleep
from typing import Any

import dask
import dask.array as da
import distributed
import numpy as np
import psutil
from distributed import Client, wait

from benchmarks.many_processes import cluster
from xdask_pipelines.placement import compute, drain, pin
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.system.units import counted

REGIONS = ("us-east-1", "us-west-2", "eu-central-1", "ap-northeast-1", "sa-east-1")
#: Figures by name, in the order of the table.
Figures = dict[str, float]


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes
    ----------
    regions, processes
        Regions, and worker processes of each.
    blocks
        Blocks of the large computation; one of a single Region has a fourth of them.
    rounds
        Rounds of each.
    small
        Computations of ``small_blocks`` over which memory must not grow. The first fifth fills caches.
    drained_blocks, task_seconds
        Blocks of the computation during which workers are drained, and the duration of each.
    idle_seconds
        How long the idle scheduler is watched.
    """

    regions: Sequence[str] = REGIONS
    processes: int = 20
    blocks: int = 20_000
    rounds: int = 3
    small: int = 50
    small_blocks: int = 100
    drained_blocks: int = 2_000
    task_seconds: float = 0.1
    idle_seconds: float = 10.0


def field(
    blocks: int,
    token: str,
    regions: Sequence[str],
    block: Callable[..., Any] = np.full,
    args: Sequence[Any] = (1, 1.0),
) -> Any:
    """Return a field of ones, one a block, of which each Region holds as many."""
    chunks = ((1,) * (blocks // len(regions)),)
    held = [
        pin(
            da.map_blocks(block, *args, chunks=chunks, dtype=float, meta=np.empty(0), name=f"{token}-{region}"),
            region,
        )
        for region in regions
    ]
    return da.concatenate(held)


def counted_block(folder: str, seconds: float) -> Any:
    """Return a one, and leave a byte in the file of this process."""
    sleep(seconds)
    with (Path(folder) / str(os.getpid())).open("ab") as file:
        file.write(b".")
    return np.ones(1)


def executions(folder: str) -> int:
    """Return how many blocks were computed."""
    return sum(path.stat().st_size for path in Path(folder).iterdir())


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"  {text}", flush=True)


def cpu(process: psutil.Process) -> float:
    """Return the CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measured(size: Size, *, placed: bool) -> Figures:
    """Return the figures of one way."""
    way = "placed" if placed else "plain Dask"
    optimize = dask.config.get("array_optimize") if placed else da.optimization.optimize
    began = monotonic()
    with (
        cluster(size.regions, size.processes, lambda text: say(f"{way}: {text}"), placed=placed) as (client, scheduler),
        dask.config.set(array_optimize=optimize),
    ):
        found = {
            "workers joined, s": monotonic() - began,
            "... CPU of the scheduler until then, s": cpu(scheduler),
            "... CPU of a worker until then, s": statistics.median(client.run(process_time).values()),
        }

        def total(lazy: Any, blocks: int) -> None:
            lazy = lazy.sum(split_every=32)
            value = compute(client, lazy)[0][0] if placed else client.compute(lazy).result()
            assert float(value) == blocks, (float(value), blocks)

        total(field(100, "warm", size.regions), 100)
        found |= _idle(size, scheduler)
        found |= _rounds(size, client, scheduler, total, way)
        found |= _memory(size, scheduler, total, way)
        if placed:
            found |= _drained(size, client, total)
        return found


def _idle(size: Size, scheduler: psutil.Process) -> Figures:
    before = cpu(scheduler)
    sleep(size.idle_seconds)
    return {"idle scheduler, % of a core": 100 * (cpu(scheduler) - before) / size.idle_seconds}


def _rounds(
    size: Size, client: Client, scheduler: psutil.Process, total: Callable[[Any, int], None], way: str
) -> Figures:
    def spent() -> np.ndarray:
        return np.array([monotonic(), cpu(scheduler), process_time()])

    def by_workers() -> float:
        return float(sum(client.run(process_time).values()))

    found: Figures = {}
    for blocks, regions in ((size.blocks, size.regions), (size.blocks // 4, size.regions[:1])):
        what = f"{blocks:,} blocks of {counted(len(regions), 'Region')}"
        tasks = len(dask.optimize(field(blocks, "like", regions).sum(split_every=32))[0].__dask_graph__())
        rows = []
        for i in range(size.rounds):
            worked, before = by_workers(), spent()
            total(field(blocks, f"round-{i}", regions), blocks)
            rows.append([*(spent() - before), by_workers() - worked])
            say(f"{way}: {what}, round {i + 1}: {rows[-1][0]:.0f} s, scheduler {rows[-1][1]:.1f} s of CPU")
        seconds, by_scheduler, by_client, worked = np.median(rows, axis=0)
        found |= {
            f"{what}: tasks": tasks,
            f"{what}: seconds": seconds,
            f"{what}: CPU of the scheduler, s": by_scheduler,
            f"{what}: ... a task, us": 1e6 * by_scheduler / tasks,
            f"{what}: CPU of all workers, s": worked,
            f"{what}: CPU of the client, s": by_client,
        }
    return found


def _memory(size: Size, scheduler: psutil.Process, total: Callable[[Any, int], None], way: str) -> Figures:
    client = psutil.Process()
    ours, theirs = [], []
    for i in range(size.small):
        total(field(size.small_blocks, f"small-{i}", size.regions), size.small_blocks)
        theirs.append(scheduler.memory_info().rss / 1e6)
        ours.append(client.memory_info().rss / 1e6)
    warm = size.small // 5
    say(f"{way}: {size.small} computations; memory of the scheduler {theirs[-1]:.0f} MB")
    return {
        "scheduler's memory, MB": theirs[-1],
        f"... more after {size.small - warm} computations, MB": theirs[-1] - theirs[warm],
        f"client's, more after {size.small - warm}, MB": ours[-1] - ours[warm],
    }


def _drained(size: Size, client: Client, total: Callable[[Any, int], None]) -> Figures:
    """Drain half of each pool while it holds results and computes: no result is lost, and no task runs twice."""
    blocks, seconds = size.drained_blocks, []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as threads:
        held_in, runs_in = Path(folder) / "held", Path(folder) / "runs"
        held_in.mkdir()
        runs_in.mkdir()
        slow = (str(runs_in), size.task_seconds)
        held = client.persist(field(blocks, "held", size.regions, counted_block, (str(held_in), 0.0)))
        wait(held)
        running = threads.submit(total, field(blocks, "runs", size.regions, counted_block, slow), blocks)
        while not executions(str(runs_in)):
            sleep(0.05)
        for region in size.regions:
            began = monotonic()
            drain(client, region, size.processes - size.processes // 2)
            seconds.append(monotonic() - began)
            say(
                f"drained half of {region} in {seconds[-1]:.1f} s; {executions(str(runs_in))} of {blocks} tasks had run"
            )
        running.result()
        total(held, blocks)
        for path in (held_in, runs_in):
            assert (ran := executions(str(path))) == blocks, f"{counted(ran, 'task')} ran for {blocks} blocks"
    there = SchedulerRPC(client).instances().values()
    assert sorted(len(one["workers"]) for one in there) == [size.processes // 2] * len(size.regions)
    return {"half of a pool drained, s": statistics.median(seconds)}


def machine() -> str:
    """Return one line on this machine."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
    return (
        f"{counted(os.cpu_count() or 1, 'core')} ({(names or [platform.machine()])[0].strip()}), "
        f"{psutil.virtual_memory().total / 1e9:.0f} GB; Python {platform.python_version()}, Dask {distributed.__version__}"
    )


def table(ways: Mapping[str, Figures]) -> list[str]:
    """Return the lines of a table of both ways, with ratios where plain Dask has at least one unit."""
    (ours_name, ours), (theirs_name, theirs) = ways.items()
    lines = [f"{'':58}{ours_name:>10}{theirs_name:>12}{'ratio':>8}"]
    for figure, own in ours.items():
        other = theirs.get(figure)
        lines.append(
            f"{figure:58}{own:10.1f}"
            + (f"{'':12}" if other is None else f"{other:12.1f}")
            + (f"{'':8}" if other is None or other < 1 else f"{own / other:8.2f}")
        )
    return lines


def main(size: Size) -> None:
    """Print both ways side by side."""
    workers = counted(size.processes * len(size.regions), "worker process", "worker processes")
    print(f"{workers} in {counted(len(size.regions), 'Region')}", flush=True)
    ways = {name: measured(size, placed=name == "placed") for name in ("placed", "plain Dask")}
    print(f"\n{machine()}\nMedians of {size.rounds} rounds; seconds on the wall depend on what else runs.\n")
    print("\n".join(table(ways)))


if __name__ == "__main__":
    sys.exit(main(Size()))
