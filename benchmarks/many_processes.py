"""The processes of `many_workers`: a scheduler and its workers, with placement or without it, from the same commands.

Belongs here: starting and ending them. Does not belong here: what is measured of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import psutil
from distributed import Client

from xdask_pipelines.placement.launch.process_command import PRELOAD, ProcessCommand
from xdask_pipelines.placement.launch.scheduler_command import SchedulerOptions, scheduler_command
from xdask_pipelines.placement.launch.worker_command import WorkerOptions, worker_command
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.system.units import counted

#: Memory of a worker process with its share of a nanny, measured; and what is left to others.
_WORKER_BYTES, _LEFT_BYTES = 120e6, 3e9
_JOIN_SECONDS, _END_SECONDS, _LOOK_SECONDS = 900.0, 120.0, 0.5
#: The scheduler goes first, as it does on a machine of its own.
_NICE = ("nice", "-n", "10")
#: How seldom processes look at themselves, in both ways. A worker and its nanny take 1.2 % of a core when they are idle,
#: and 0.1 % at these intervals: a hundred would take more than a core.
_CALM = {
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "2s",
    "DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL": "2s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


@contextmanager
def cluster(
    regions: Sequence[str], processes: int, say: Callable[[str], None], *, placed: bool
) -> Iterator[tuple[Client, psutil.Process]]:
    """Start a scheduler and worker processes, and end them.

    Parameters
    ----------
    regions, processes
        Regions, and worker processes in each.
    say
        Called with a line of progress.
    placed
        Whether tasks are placed; otherwise the same commands start plain Dask.

    Yields
    ------
    A client, and the scheduler's process.
    """
    need = processes * len(regions) * _WORKER_BYTES + _LEFT_BYTES
    if (available := psutil.virtual_memory().available) < need:
        raise SystemExit(f"{need / 1e9:.0f} GB of memory are needed, and {available / 1e9:.0f} GB are available.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as running:
        file = Path(folder) / "scheduler.json"
        options = SchedulerOptions(
            Settings("client", one_machine=True, owner=os.getpid()),
            port=0,
            dashboard_address=f"{LOOPBACK}:0",
            scheduler_file=file,
        )
        scheduler = running.enter_context(_process(scheduler_command(options), [], placed=placed))
        while not file.exists():
            if scheduler.poll() is not None:
                raise SystemExit("The scheduler ended before its workers joined.")
            sleep(0.1)
        client = running.enter_context(Client(json.loads(file.read_text())["address"], timeout=120))
        common = WorkerOptions("", file, "", processes=processes, memory_limit="1GB", death_timeout=_JOIN_SECONDS)
        # One Region after the other: a hundred processes that start at once leave no core to the scheduler.
        for number, region in enumerate(regions, 1):
            options_here = replace(common, region=region, name=region, local_directory=Path(folder) / region)
            running.enter_context(_process(worker_command(options_here), _NICE, placed=placed))
            _wait(client, processes * number, say)
        yield client, psutil.Process(scheduler.pid)


@contextmanager
def _process(command: ProcessCommand, prefix: Sequence[str], *, placed: bool) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command, and end it."""
    process = subprocess.Popen(
        [*prefix, *(command.words if placed else _plain(command))],
        env={**os.environ, **command.environment, **_CALM},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_END_SECONDS)


def _plain(command: ProcessCommand) -> list[str]:
    """Return the words of a command without what makes it place."""
    words = list(command.words)
    at = words.index("--preload")
    assert words[at + 1] == PRELOAD
    return words[:at] + words[at + 2 :]


def _wait(client: Client, workers: int, say: Callable[[str], None]) -> None:
    """Wait until so many workers have joined; end if they do not fit into memory."""
    deadline = monotonic() + _JOIN_SECONDS
    while (joined := len(client.scheduler_info(n_workers=-1)["workers"])) < workers:
        if (available := psutil.virtual_memory().available) < _LEFT_BYTES:
            raise SystemExit(f"The workers do not fit into memory: {available / 1e9:.0f} GB are available.")
        if monotonic() > deadline:
            raise SystemExit(f"{joined} of {workers} workers joined in {_JOIN_SECONDS:.0f} s.")
        sleep(_LOOK_SECONDS)
    say(f"{counted(joined, 'worker')} joined, {psutil.virtual_memory().available / 1e9:.0f} GB of memory available")
