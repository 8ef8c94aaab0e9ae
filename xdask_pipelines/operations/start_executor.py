"""The sync executor: scheduler and workers of one Region on one machine, for clients elsewhere.

Belongs here: starting both, and ending with them. Does not belong here: who runs it and connects to it
(resources.aws.sync_executor).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.launch.machine_checks import refuse_memory_limit, refuse_unwritable
from xdask_pipelines.placement.launch.machine_defaults import processes_and_threads
from xdask_pipelines.placement.local.cluster import Pool, Processes, start
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.resources.aws.own_task import own_task
from xdask_pipelines.system.ports import LOOPBACK, is_loopback
from xdask_pipelines.system.processes import is_alive
from xdask_pipelines.system.signals import interrupted_by_signals, uninterrupted
from xdask_pipelines.topology.aws_names import SCHEDULER_PORT

_LOOK_SECONDS = 1.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class ExecutorRequest:
    """What the executor is made of; None where the machine decides.

    Attributes
    ----------
    region
        Region of its data.
    data, results
        Folders of the Region's data and results, both written.
    certificates
        Folder of TLS certificates.
    local_directory
        Folder for logs, and to spill to.
    host, port
        Address on which the scheduler listens: that of the ECS task by default. Workers listen on loopback.
    ports
        First and last port of workers.
    processes, threads, memory_limit
        What workers may use.
    idle_seconds
        How long it waits for a client before it ends.
    """

    region: str
    data: Path
    results: Path
    local_directory: Path
    certificates: Path | None = None
    host: str | None = None
    port: int = SCHEDULER_PORT
    ports: tuple[int, int] | None = None
    processes: int | None = None
    threads: int | None = None
    memory_limit: str = "auto"
    idle_seconds: float = 300.0


def run_executor(request: ExecutorRequest, tell: Tell) -> None:
    """Run scheduler and workers until no client was connected for a while, or a signal ends this process.

    Raises
    ------
    PlacementError
        The address is open to others and there are no certificates, a folder cannot be used, or a process does not start.
    """
    task = own_task()
    host = request.host or (task.address if task else LOOPBACK)
    if request.certificates is None and not is_loopback(host):
        raise PlacementError(
            f"An executor on {host} without TLS would let everybody on the network run code as you. Give it certificates: "
            "`--certs DIR`."
        )
    for option, folder in (("--data", request.data), ("--results", request.results)):
        if not folder.is_dir():
            raise PlacementError(
                f"There is no folder {folder} on this machine. Mount or create it, or correct {option}."
            )
    refuse_memory_limit(request.memory_limit)
    folder = request.local_directory / "executor"
    refuse_unwritable(folder, "`--local-directory`", create=True)
    processes, threads = processes_and_threads(request.processes, request.threads)
    pool = Pool(
        request.region,
        processes,
        threads,
        request.data,
        request.results,
        memory_limit=request.memory_limit,
        ports=request.ports,
    )
    settings = replace(Settings.from_environment(), owner=os.getpid(), idle_seconds=request.idle_seconds)
    running, logs = Processes("", ""), _Logs(folder)
    with interrupted_by_signals():
        try:
            running = start(
                [pool], folder, settings, certificates=request.certificates, host=host, port=request.port, tell=tell
            )
            while all(map(is_alive, running.pids.values())):
                logs.copy()
                sleep(_LOOK_SECONDS)
            tell("the executor ends: it had no client, or a process ended")
        except KeyboardInterrupt:
            tell("the executor was asked to end")
        finally:
            with uninterrupted():
                running.stop()
                logs.copy()


class _Logs:
    """Logs of processes, which are copied to standard error: there CloudWatch and journals take them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._copied = folder, dict[Path, int]()

    def copy(self) -> None:
        for log in self._folder.glob("*.log"):
            with log.open("rb") as file:
                file.seek(self._copied.get(log, 0))
                sys.stderr.buffer.write(file.read())
                self._copied[log] = file.tell()
        sys.stderr.flush()
