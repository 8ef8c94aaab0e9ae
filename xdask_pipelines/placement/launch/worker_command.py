"""The command that starts the worker processes of one instance of a pool.

Belongs here: what such workers need from their first moment. Does not belong here: starting them, what they do then
(worker_setup), defaults that depend on the machine (machine_defaults).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.launch.process_command import PRELOAD, ProcessCommand, dask_words, intervals
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.worker.contact import CONTACT_VARIABLE
from xdask_pipelines.placement.worker.guard import GUARDED_VARIABLE, RESULTS_VARIABLE, ROOT_VARIABLE
from xdask_pipelines.placement.worker.introduction import INSTANCE_VARIABLE, PORTS_VARIABLE
from xdask_pipelines.system.ports import LOOPBACK, in_address
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.names import pool_name

DRAIN_PRELOAD = "xdask_pipelines.placement.launch.drain_on_signal"
DRAIN_VARIABLE = "XDASK_DRAIN_SECONDS"
#: How glibc gets memory from the system in worker processes: blocks of up to 32 MB come from one heap, which keeps up to
#: 256 MB that are free. Dask's nannies would give back all but 64 kB, and each chunk would get new pages: their faults took
#: a third of the CPU time of reading ERA5. A nanny passes these on instead of its own value.
ALLOCATION = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}


@dataclass(frozen=True)
class WorkerOptions:
    """Where an instance's workers belong, how they are reached, and what they may use.

    Attributes
    ----------
    region
        Region whose pool they join.
    scheduler
        Address of the scheduler, or the file to which it writes its address.
    name
        Name of the instance; its processes are numbered. Unique in the pool.
    host
        Address on which they listen.
    ports
        First and last port that they may use, two for each process; None for any free ports.
    contact_host
        Name or address by which others reach this machine, with the same ports, if that is not ``host``.
    data, results
        Folders of the Region's data and results; None where workers need no files.
    guarded
        Folders of other Regions on this machine, which they must not open either.
    processes, threads
        Worker processes, and threads in each.
    memory_limit
        Of each process, as Dask reads it ("auto", "4 GiB").
    local_directory
        Folder to which they spill.
    certificates
        Folder of TLS certificates; None for plain TCP.
    drain_seconds
        How long they may hand over results and tasks to their pool when they are asked to end (SIGTERM). 0 if they end
        at once.
    death_timeout
        Seconds after which they end if no scheduler takes them; None to wait for ever.
    prefix
        Words before the command, for example those that enter a namespace.
    """

    region: str
    scheduler: str | Path
    name: str
    host: str = LOOPBACK
    ports: tuple[int, int] | None = None
    contact_host: str | None = None
    data: Path | None = None
    results: Path | None = None
    guarded: Sequence[Path] = ()
    processes: int = 1
    threads: int = 1
    memory_limit: str = "auto"
    local_directory: Path | None = None
    certificates: Path | None = None
    drain_seconds: float = 0.0
    death_timeout: float | None = None
    prefix: Sequence[str] = ()


def worker_command(options: WorkerOptions) -> ProcessCommand:
    """Return the command that starts an instance's workers.

    Raises
    ------
    PlacementError
        The ports are too few for the processes.
    """
    scheduler = options.scheduler
    words = [*options.prefix, *dask_words("worker")]
    words += ["--scheduler-file", str(scheduler)] if isinstance(scheduler, Path) else [scheduler]
    words += ["--host", in_address(options.host), "--nanny", "--name", options.name, *_ports(options)]
    # The web pages show metrics and health; Dask would serve them on all interfaces.
    words += ["--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0"]
    words += ["--nworkers", str(options.processes), "--nthreads", str(options.threads)]
    words += ["--memory-limit", options.memory_limit, "--resources", f"{pool_name(options.region)}=1"]
    words += ["--preload", PRELOAD]
    if options.local_directory:
        words += ["--local-directory", str(options.local_directory)]
    if options.death_timeout is not None:
        words += ["--death-timeout", str(options.death_timeout)]
    if options.drain_seconds:
        words += ["--preload-nanny", DRAIN_PRELOAD]
    return ProcessCommand(words, _environment(options))


def _environment(options: WorkerOptions) -> dict[str, str]:
    named = {
        ROOT_VARIABLE: options.data,
        RESULTS_VARIABLE: options.results,
        GUARDED_VARIABLE: os.pathsep.join(map(str, options.guarded)),
        CONTACT_VARIABLE: options.contact_host,
        INSTANCE_VARIABLE: options.name,
        PORTS_VARIABLE: "{}-{}".format(*options.ports) if options.ports else "",
        DRAIN_VARIABLE: options.drain_seconds,
    }
    environment = {name: str(value) for name, value in named.items() if value}
    if options.certificates:
        environment |= tls.environment(options.certificates)
    allocation = {name: os.environ.get(name, value) for name, value in ALLOCATION.items()}
    return environment | intervals() | allocation


def _ports(options: WorkerOptions) -> list[str]:
    """Give workers the first half of the ports, and the nannies that restart them the second."""
    if options.ports is None:
        return []
    first, last = options.ports
    half = (last - first + 1) // 2
    if half < options.processes:
        raise PlacementError(
            f"The ports {first}-{last} are too few for {counted(options.processes, 'worker process', 'worker processes')}: "
            f"each needs two. Give at least {first}-{first + 2 * options.processes - 1}, or fewer processes."
        )
    return ["--worker-port", f"{first}:{first + half - 1}", "--nanny-port", f"{first + half}:{first + 2 * half - 1}"]
