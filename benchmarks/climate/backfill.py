"""`python -m benchmarks.climate.backfill`: 120 months as a backfill: overhead, memory, and what a killed one repeats.

Belongs here: ranges of small months through the command line, in one run, and without Dagster on the same pools. Does not
belong here: the project of the months (months), reading a month of full size (__main__).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from time import perf_counter, sleep
from typing import Any

from benchmarks.climate.months import MONTHS, small_months
from xdask_pipelines.access import open_entries
from xdask_pipelines.catalog import Entry, open_catalog
from xdask_pipelines.climate import month_partial
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.topology import Topology

BACKFILL = MONTHS[:120]
_VARIABLE = "air_temperature_at_2_metres"
_COMMAND = "from xdask_pipelines.cli import main; main()"
_ONE_RUN = """
import sys
from xdask_pipelines.operations.project import instance, run_assets
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.topology import find_topology

topology = find_topology()
pools = LocalPools(topology)
with instance(topology) as history:
    run_assets(topology, pools, history, ["monthly"], partitions=sys.argv[1:])
pools.close()
"""
#: Seconds after which a process that should have stored something counts as failed.
_PATIENCE = 300.0


def main() -> None:
    """Measure, and print the table."""
    print(f"{f'{len(BACKFILL)} months of 19 x 36 cells and 24 h':52}{'s':>8}{'s a month':>11}{'client, MB':>12}")
    with small_months() as (topology, pools):
        warm = [_without_dagster(topology, pools) for _ in range(4)]
        _row("the same pools, without Dagster, store and checks", sorted(warm[1:])[1])
        _row("one run", *_finished(_started("-c", _ONE_RUN, BACKFILL[0], BACKFILL[-1]))[:2])
        seconds, megabytes, said = _finished(_backfill("--again"))
        _row(f"xdask run, {len(said['runs'])} batches", seconds, megabytes)
        seconds, megabytes, said = _finished(_backfill())
        _row(f"xdask run again: {said['reused']} up to date", seconds, megabytes)
    with small_months() as (topology, _):
        for asked in (24, 96):
            part = _backfill()
            _until_stored(topology, asked, part)
            sleep(1.0)  # in the middle of the next batch
            os.kill(part.pid, signal.SIGKILL)
            part.wait()
            print(f"killed when {len(_stored(topology))} months were stored", flush=True)
        _, _, said = _finished(_backfill())
        print(f"started again: {said['computed']} computed, {said['reused']} up to date")


def _row(name: str, seconds: float, megabytes: float | None = None) -> None:
    memory = "" if megabytes is None else f"{megabytes:12.0f}"
    print(f"{name:52}{seconds:8.1f}{seconds / len(BACKFILL):11.3f}{memory}", flush=True)


def _without_dagster(topology: Topology, pools: LocalPools) -> float:
    """Return the seconds in which the pools compute the partials of all months, which arrive here."""
    entries = open_catalog(topology.catalog_url).search(dataset="months", limit=None)
    began = perf_counter()
    pools.compute([month_partial(open_entries([e], [_VARIABLE])[_VARIABLE]) for e in entries[: len(BACKFILL)]])
    return perf_counter() - began


def _started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-W", "ignore", *words], stdout=subprocess.PIPE, text=True)


def _backfill(*words: str) -> subprocess.Popen[str]:
    """Start `xdask run` of all months."""
    return _started("-c", _COMMAND, "run", "monthly", "--json", *words, "--partition", BACKFILL[0], BACKFILL[-1])


def _finished(process: subprocess.Popen[str]) -> tuple[float, float, dict[str, Any]]:
    """Wait for a process, and return its seconds from now, its peak of memory in MB, and the JSON that it printed."""
    began = perf_counter()
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"a backfill ended with {process.returncode}: {printed}")
    return perf_counter() - began, usage.ru_maxrss * 1024 / 1e6, json.loads(printed) if printed.strip() else {}


def _stored(topology: Topology) -> list[Entry]:
    return open_catalog(topology.catalog_url).search(dataset="monthly", limit=None)


def _until_stored(topology: Topology, months: int, process: subprocess.Popen[str]) -> None:
    """Wait until a process has stored so many months.

    Raises
    ------
    SystemExit
        If it ends before, or takes too long.
    """
    deadline = perf_counter() + _PATIENCE
    while len(_stored(topology)) < months:
        if process.poll() is not None or perf_counter() > deadline:
            raise SystemExit(f"a backfill stored {len(_stored(topology))} months and not {months} before it was killed")
        sleep(0.1)


if __name__ == "__main__":
    main()
