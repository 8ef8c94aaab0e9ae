"""`python -m benchmarks.many_workers`: a hundred worker processes in five Regions, placed and then with plain Dask.

Belongs here: starting both ways from the same commands, and what is measured of them. Does not belong here: one worker or no
network (scheduler), a wide-area network (wan).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import dask
import dask.array as da
import numpy as np
import psutil
from distributed import Client

from xdask_pipelines.placement import compute, drain, pin
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.launch.process_command import PRELOAD, ProcessCommand
from xdask_pipelines.placement.launch.scheduler_command import SchedulerOptions, scheduler_command
from xdask_pipelines.placement.launch.worker_command import WorkerOptions, worker_command
from xdask_pipelines.placement.settings import Settings

REGIONS = ("us-east-1", "us-west-2", "eu-central-1", "ap-northeast-1", "sa-east-1")
PROCESSES, BLOCKS = 20, 20_000
#: Rounds of the large computation, and small computations over which memory must not grow.
ROUNDS, SMALL = 3, 50


def field(blocks: int, token: str) -> Any:
    """A sum over blocks of one number that five Regions hold, reduced 32 at a time in both ways."""
    chunks = ((1,) * (blocks // len(REGIONS)),)
    held = [
        pin(
            da.map_blocks(np.full, 1, 1.0, chunks=chunks, dtype=float, meta=np.empty(0), name=f"{token}-{region}"),
            region,
        )
        for region in REGIONS
    ]
    return da.concatenate(held).sum(split_every=32)


def _plain(command: ProcessCommand) -> list[str]:
    """The words of a command without what makes it place."""
    words = list(command.words)
    at = words.index("--preload")
    assert words[at + 1] == PRELOAD
    return words[:at] + words[at + 2 :]


@contextmanager
def cluster(*, placed: bool) -> Iterator[tuple[Client, psutil.Process, float]]:
    """A client, the scheduler's process, and the seconds until all workers had joined."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "scheduler.json"
        settings = Settings("client", one_machine=True, owner=os.getpid())
        options = SchedulerOptions(settings, port=0, dashboard_address="127.0.0.1:0", scheduler_file=file)
        commands = [scheduler_command(options)]
        common = WorkerOptions("", file, "", processes=PROCESSES, memory_limit="1GB", death_timeout=300)
        commands += [
            worker_command(replace(common, region=region, name=region, local_directory=Path(folder) / region))
            for region in REGIONS
        ]
        began = monotonic()
        started = [
            subprocess.Popen(
                command.words if placed else _plain(command),
                env={**os.environ, **command.environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]
        try:
            while not file.exists():
                sleep(0.1)
            address = json.loads(file.read_text())["address"]
            with Client(address, timeout=120) as client:
                client.wait_for_workers(PROCESSES * len(REGIONS), timeout=600)
                yield client, psutil.Process(started[0].pid), monotonic() - began
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait(60)


def cpu(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measured(*, placed: bool) -> dict[str, float]:
    """Figures of one way."""
    optimize = dask.config.get("array_optimize") if placed else da.optimization.optimize
    with cluster(placed=placed) as (client, scheduler, joined), dask.config.set(array_optimize=optimize):

        def computed(blocks: int, token: str) -> None:
            lazy = field(blocks, token)
            value = compute(client, lazy)[0][0] if placed else client.compute(lazy).result()
            assert float(value) == blocks

        computed(100, "warm")
        seconds, spent = [], []
        for i in range(ROUNDS):
            before, began = cpu(scheduler), monotonic()
            computed(BLOCKS, f"large-{i}")
            seconds.append(monotonic() - began)
            spent.append(cpu(scheduler) - before)
        sizes = []
        for i in range(SMALL):
            computed(100, f"small-{i}")
            sizes.append(scheduler.memory_info().rss)
        found = {
            "joined_seconds": joined,
            "seconds": statistics.median(seconds),
            "scheduler_us_a_task": 1e6 * statistics.median(spent) / BLOCKS,
            "memory_growth": sizes[-1] / sizes[9],
        }
        if placed:
            began = monotonic()
            for region in REGIONS:
                drain(client, region, PROCESSES // 2)
            found["drain_seconds"] = monotonic() - began
            there = SchedulerRPC(client).instances().values()
            assert sorted(len(one["workers"]) for one in there) == [PROCESSES // 2] * len(REGIONS)
            computed(1_000, "afterwards")
        return found


def main() -> None:
    """Print both ways side by side."""
    print(
        f"{PROCESSES * len(REGIONS)} worker processes in {len(REGIONS)} Regions; {BLOCKS:,} tasks that read", flush=True
    )
    ways = {name: measured(placed=name == "placed") for name in ("placed", "plain Dask")}
    for figure, ours in ways["placed"].items():
        theirs = ways["plain Dask"].get(figure)
        beside = "" if theirs is None else f"{theirs:12.2f}   {ours / theirs:.2f} x plain"
        print(f"  {figure:22}{ours:12.2f}{beside}")


if __name__ == "__main__":
    sys.exit(main())
