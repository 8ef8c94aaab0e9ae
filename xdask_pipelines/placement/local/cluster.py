"""Scheduler and pools as processes on one machine.

Belongs here: starting, waiting for and stopping them. Does not belong here: what they are for (topology, command line).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep

from distributed import Client

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.compute import check_scheduler
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.dashboard.samples import PAGE
from xdask_pipelines.placement.launch.scheduler_command import SchedulerOptions, scheduler_command
from xdask_pipelines.placement.launch.worker_command import WorkerOptions, worker_command
from xdask_pipelines.placement.local.isolation import hiding
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.placement.worker.guard import folders_of
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.system.processes import is_alive, spawn, stop_processes
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.names import pool_name

START_SECONDS = 120.0


@dataclass(frozen=True)
class Pool:
    """Workers of one Region on this machine.

    Attributes
    ----------
    region
        Region of the workers.
    processes, threads
        Number of worker processes, and of threads in each.
    data, results
        Folders of the Region's data and results; None if the workers need no files.
    memory_limit
        Limit of each process, as Dask reads it ("auto", "4 GiB").
    prefix
        Words before the worker command, for example to enter a namespace.
    name
        Name of a further instance of the pool; empty for the first.
    ports
        First and last port on which its workers listen; None for any.
    """

    region: str
    processes: int = 1
    threads: int = 1
    data: Path | None = None
    results: Path | None = None
    memory_limit: str = "auto"
    prefix: Sequence[str] = ()
    name: str = ""
    ports: tuple[int, int] | None = None

    @property
    def instance(self) -> str:
        """Name of these processes: of the first instance of a pool, its Region."""
        return self.name or self.region


@dataclass
class Processes:
    """Started processes: the scheduler's address, its dashboard, their ids by name, the folder of certificates if they use
    TLS, and the Region of each instance.
    """

    address: str
    dashboard: str
    pids: dict[str, int] = field(default_factory=dict)
    certificates: str | None = None
    regions: dict[str, str] = field(default_factory=dict)

    def connect(self, timeout: float, *, set_as_default: bool = False) -> Client:
        """A client of these processes, as `connect.connect` makes it."""
        folder = Path(self.certificates) if self.certificates else None
        return connect(self.address, folder, timeout=timeout, set_as_default=set_as_default)

    def stop(self) -> None:
        """Stop all, workers first, each by its own id; a process that does not end in time is killed with its children."""
        stop_processes([pid for name, pid in self.pids.items() if name != "scheduler"])
        stop_processes([pid for name, pid in self.pids.items() if name == "scheduler"])


def start(
    pools: Sequence[Pool],
    folder: Path,
    settings: Settings | None = None,
    *,
    certificates: Path | None = None,
    host: str = LOOPBACK,
    port: int = 0,
    dashboard_port: int = 0,
    ui_hosts: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Processes:
    """Start a scheduler and the workers of each pool, and wait until all have joined.

    Parameters
    ----------
    pools
        What to start.
    folder
        Holds logs, spilled data and the scheduler's address; made if missing.
    settings
        What the scheduler must know of the topology.
    certificates
        Folder that ``xdask certs`` filled: all connections are encrypted then, and only holders of such certificates may
        connect. None for plain TCP on loopback.
    host, port
        Address on which the scheduler listens; port 0 takes a free one. Workers listen on loopback.
    dashboard_port
        Port of Dask's dashboard on loopback if it is free; 0 for any.
    ui_hosts
        Hosts, with their ports, by which browsers reach the dashboard in addition to loopback.
    tell
        Called with one line for each thing that happened.

    Raises
    ------
    PlacementError
        If something did not start, or certificates have expired; whatever did start is stopped again.
    """
    certificates = _valid(certificates)
    folder.mkdir(parents=True, exist_ok=True)
    address_file = folder / "scheduler.json"
    address_file.unlink(missing_ok=True)
    running = Processes(address="", dashboard="", certificates=str(certificates) if certificates else None)
    try:
        command = scheduler_command(
            SchedulerOptions(
                settings or Settings(),
                host=host,
                port=port,
                dashboard_address=f"{LOOPBACK}:{dashboard_port}",
                certificates=certificates,
                scheduler_file=address_file,
                ui_hosts=ui_hosts,
            )
        )
        running.pids["scheduler"] = spawn(command.words, folder / "scheduler.log", command.environment)
        for pool in pools:  # started at once: they wait for the scheduler's file, and importing takes seconds
            running.regions[pool.instance] = pool.region
            running.pids[pool.instance] = _spawn_pool(pool, pools, address_file, folder, certificates)
        running.address, running.dashboard = _await_address(address_file, running.pids["scheduler"], folder)
        tell(f"scheduler at {running.address}")
        try:
            _await_workers(running, pools, folder, tell)
        except OSError as error:  # it writes its address before its preloads, which may end it
            raise _no_scheduler(folder) from error
    except BaseException:
        running.stop()
        raise
    return running


def join(
    running: Processes,
    pools: Sequence[Pool],
    folder: Path,
    *,
    beside: Sequence[Pool] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Start the workers of some pools next to a running scheduler, and wait until all have joined.

    Parameters
    ----------
    running
        What stands; gets the new processes.
    pools
        What to start.
    folder
        That of `start`.
    beside
        The other pools on this machine, which are not touched.
    tell
        Called with one line for each thing that happened.

    Raises
    ------
    PlacementError
        If something did not start; whatever of ``pools`` did is stopped again.
    """
    certificates = _valid(Path(running.certificates) if running.certificates else None)
    everywhere = [*pools, *beside]
    new = replace(running, pids={}, regions={})
    try:
        for pool in pools:
            new.regions[pool.instance] = pool.region
            new.pids[pool.instance] = _spawn_pool(pool, everywhere, folder / "scheduler.json", folder, certificates)
        _await_workers(new, pools, folder, tell)
    except BaseException:
        new.stop()
        raise
    running.pids.update(new.pids)
    running.regions.update(new.regions)


def _folders(pools: Sequence[Pool]) -> list[Path]:
    return [Path(name) for pool in pools for p in (pool.data, pool.results) if p for name in folders_of(p)]


def _valid(certificates: Path | None) -> Path | None:
    if certificates is not None:
        from xdask_pipelines.placement.local.certificates import refuse_expired  # kept light: rarely needed

        refuse_expired(certificates)
    return certificates


def _spawn_pool(
    pool: Pool, everywhere: Sequence[Pool], address_file: Path, folder: Path, certificates: Path | None
) -> int:
    spill = folder / "spill" / pool.instance
    spill.mkdir(parents=True, exist_ok=True)
    hidden = hiding(_folders([other for other in everywhere if other is not pool]), _folders([pool]))
    command = worker_command(
        WorkerOptions(
            region=pool.region,
            scheduler=address_file,
            name=pool.instance,
            ports=pool.ports,
            data=pool.data,
            results=pool.results,
            guarded=_folders(everywhere),
            processes=pool.processes,
            threads=pool.threads,
            memory_limit=pool.memory_limit,
            local_directory=spill,
            certificates=certificates,
            death_timeout=30.0,
            prefix=(*pool.prefix, *hidden),
        )
    )
    return spawn(command.words, folder / f"{pool.instance}.log", command.environment)


def _await_address(file: Path, pid: int, folder: Path) -> tuple[str, str]:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        try:
            identity = json.loads(file.read_text())
            port = identity.get("services", {}).get("dashboard")
            return identity["address"], f"http://{LOOPBACK}:{port}/{PAGE}" if port else ""
        except (FileNotFoundError, ValueError):
            if not is_alive(pid):
                break
            sleep(0.05)
    raise _no_scheduler(folder)


def _no_scheduler(folder: Path) -> PlacementError:
    log = folder / "scheduler.log"
    return PlacementError(f"The scheduler did not start; its log is {log}:\n{_causes(log)}")


def _await_workers(running: Processes, pools: Sequence[Pool], folder: Path, tell: Callable[[str], None]) -> None:
    deadline = monotonic() + START_SECONDS
    with running.connect(START_SECONDS) as client:
        check_scheduler(client)
        waiting = {pool.instance: pool for pool in pools}
        while True:
            joined = SchedulerRPC(client).instances()
            for name, pool in list(waiting.items()):
                if name in joined and len(joined[name]["workers"]) >= pool.processes:
                    del waiting[name]
                    tell(f"pool {pool_name(name)}: {counted(pool.processes, 'worker process', 'worker processes')}")
            lost = [name for name in waiting if not is_alive(running.pids[name])]
            if lost or (waiting and monotonic() > deadline):
                name = (lost or sorted(waiting))[0]
                log = folder / f"{name}.log"
                raise PlacementError(f"The pool of {name} did not start; its log is {log}:\n{_causes(log)}")
            if not waiting:
                return
            sleep(0.05)


#: Lines of a log that name no cause: what went well, and the frames of tracebacks.
_NO_CAUSE = re.compile(r"\s|$|\^|Traceback |The above exception |During handling |.* - (INFO|DEBUG) - ")


def _causes(log: Path, lines: int = 6) -> str:
    """The last lines of a log that name what went wrong, each once."""
    found = log.read_text(errors="replace").splitlines() if log.exists() else []
    causes = list(dict.fromkeys(line for line in found if not _NO_CAUSE.match(line)))
    return "\n".join("  " + line for line in (causes or found)[-lines:])
