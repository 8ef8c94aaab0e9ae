"""Scheduler and pools as processes on one machine.

Belongs here: starting the processes, waiting for them, and stopping them. Does not belong here: which pools to start
(topology, resources).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep

from distributed import Client

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.compute import check_scheduler
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.dashboard.dashboard_access import HOSTS_VARIABLE
from xdask_pipelines.placement.dashboard.samples import PAGE
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.local.isolation import hiding
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.placement.worker.guard import GUARDED_VARIABLE, RESULTS_VARIABLE, ROOT_VARIABLE, folders_of
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.system.processes import is_alive, spawn, stop_processes
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.names import pool_name

START_SECONDS = 120.0
_PRELOAD = "xdask_pipelines.placement.preload"
#: Intervals at which Dask checks its event loops and profiles workers. With the defaults of 20 ms and 10 ms an idle
#: pool of one worker takes 7 % of a core, with these 2 %.
_INTERVALS = {
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "200ms",
    "DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL": "100ms",
}


@dataclass(frozen=True)
class Pool:
    """Workers of one Region on this machine.

    Attributes
    ----------
    region
        Region of the pool.
    processes, threads
        Worker processes, and threads in each.
    data, results
        Folders for the Region's mount and for its results; None if workers need no files.
    memory_limit
        Memory limit of each process, in Dask's format ("auto", "4 GiB").
    prefix
        Command before the worker's command, for example one that enters a namespace.
    """

    region: str
    processes: int = 1
    threads: int = 1
    data: Path | None = None
    results: Path | None = None
    memory_limit: str = "auto"
    prefix: Sequence[str] = ()


@dataclass
class Processes:
    """Started processes: the scheduler's address, its dashboard, their ids, the folder of certificates if they use TLS."""

    address: str
    dashboard: str
    pids: dict[str, int] = field(default_factory=dict)
    certificates: str | None = None

    def connect(self, timeout: float, *, set_as_default: bool = False) -> Client:
        """Return a client of these processes, from `connect.connect`."""
        folder = Path(self.certificates) if self.certificates else None
        return connect(self.address, folder, timeout=timeout, set_as_default=set_as_default)

    def stop(self) -> None:
        """Stop all processes, workers first; a process that does not end in time is killed with its children."""
        stop_processes([pid for name, pid in self.pids.items() if name != "scheduler"])
        stop_processes([pid for name, pid in self.pids.items() if name == "scheduler"])


def start(
    pools: Sequence[Pool],
    folder: Path,
    settings: Settings | None = None,
    *,
    certificates: Path | None = None,
    dashboard_port: int = 0,
    ui_hosts: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Processes:
    """Start a scheduler and the workers of each pool, and wait until all have joined.

    Parameters
    ----------
    pools
        Pools to start.
    folder
        Folder for logs, spilled data and the scheduler's address; created if missing.
    settings
        Settings of the scheduler from the topology.
    certificates
        Folder that ``xdask certs`` filled: all connections are then encrypted, and only processes with these
        certificates may connect. None for plain TCP on loopback.
    dashboard_port
        Preferred port of Dask's dashboard on loopback; 0 for any free port.
    ui_hosts
        Hosts, with their ports, by which browsers reach the dashboard in addition to loopback.
    tell
        Called with one line for each event.

    Returns
    -------
    The started processes.

    Raises
    ------
    PlacementError
        If a process did not start, or certificates have expired. All started processes are stopped again.
    """
    encrypted = _encryption(certificates)
    folder.mkdir(parents=True, exist_ok=True)
    address_file = folder / "scheduler.json"
    address_file.unlink(missing_ok=True)
    running = Processes(address="", dashboard="", certificates=str(certificates) if certificates else None)
    try:
        running.pids["scheduler"] = spawn(
            [
                *_dask("scheduler"),
                *("--host", LOOPBACK, "--port", "0", "--scheduler-file", str(address_file)),
                *("--dashboard-address", f"{LOOPBACK}:{dashboard_port}", "--preload", _PRELOAD),
            ],
            folder / "scheduler.log",
            (settings or Settings()).to_environment() | _intervals() | encrypted | {HOSTS_VARIABLE: ",".join(ui_hosts)},
        )
        guarded = _guarded(pools)
        for pool in pools:  # started in parallel: importing takes seconds, and workers wait for the scheduler's file
            running.pids[pool.region] = _spawn_pool(
                pool, pools, address_file, folder, {GUARDED_VARIABLE: guarded} | encrypted
            )
        running.address, running.dashboard = _await_address(address_file, running.pids["scheduler"], folder)
        tell(f"scheduler at {running.address}")
        try:
            _await_workers(running, pools, folder, tell)
        except OSError as error:  # the scheduler writes its address before its preloads run, which may end it
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
    """Start the workers of further pools for a running scheduler, and wait until all have joined.

    Parameters
    ----------
    running
        The running processes; the new ones are added.
    pools
        Pools to start.
    folder
        Folder of `start`.
    beside
        The other pools on this machine, which stay as they are.
    tell
        Called with one line for each event.

    Raises
    ------
    PlacementError
        If a process did not start. All started processes of ``pools`` are stopped again.
    """
    encrypted = _encryption(Path(running.certificates) if running.certificates else None)
    environment = {GUARDED_VARIABLE: _guarded([*pools, *beside])} | encrypted
    new = replace(running, pids={})
    try:
        for pool in pools:
            new.pids[pool.region] = _spawn_pool(pool, [*pools, *beside], folder / "scheduler.json", folder, environment)
        _await_workers(new, pools, folder, tell)
    except BaseException:
        new.stop()
        raise
    running.pids.update(new.pids)


def _guarded(pools: Sequence[Pool]) -> str:
    return os.pathsep.join(map(str, _folders(pools)))


def _folders(pools: Sequence[Pool]) -> list[Path]:
    return [Path(name) for pool in pools for p in (pool.data, pool.results) if p for name in folders_of(p)]


def _dask(role: str) -> list[str]:
    return [sys.executable, "-m", "dask", role]


def _encryption(certificates: Path | None) -> dict[str, str]:
    if certificates is None:
        return {}
    from xdask_pipelines.placement.local.certificates import (
        refuse_expired,  # kept light: workers import this module too
    )

    refuse_expired(certificates)
    return tls.environment(certificates)


def _spawn_pool(
    pool: Pool, others: Sequence[Pool], address_file: Path, folder: Path, environment: Mapping[str, str]
) -> int:
    spill = folder / "spill" / pool.region
    spill.mkdir(parents=True, exist_ok=True)
    hidden = hiding(_folders([other for other in others if other is not pool]), _folders([pool]))
    command = [
        *pool.prefix,
        *hidden,
        *_dask("worker"),
        *(
            "--scheduler-file",
            str(address_file),
            "--host",
            LOOPBACK,
            "--nanny",
            "--no-dashboard",
            "--dashboard-address",  # of metrics and health, on all interfaces by default
            f"{LOOPBACK}:0",
            "--name",
            pool.region,
        ),
        *("--nworkers", str(pool.processes), "--nthreads", str(pool.threads), "--memory-limit", pool.memory_limit),
        *("--resources", f"{pool_name(pool.region)}=1", "--preload", _PRELOAD),
        *("--local-directory", str(spill), "--death-timeout", "30"),
    ]
    folders = {ROOT_VARIABLE: pool.data, RESULTS_VARIABLE: pool.results}
    named = {name: str(path) for name, path in folders.items() if path}
    return spawn(command, folder / f"{pool.region}.log", {**_intervals(), **environment, **named})


def _intervals() -> dict[str, str]:
    """Return the intervals that the user did not set."""
    return {name: value for name, value in _INTERVALS.items() if name not in os.environ}


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
    return PlacementError(f"The scheduler did not start. The last errors in its log {log}:\n{_causes(log)}")


def _await_workers(running: Processes, pools: Sequence[Pool], folder: Path, tell: Callable[[str], None]) -> None:
    deadline = monotonic() + START_SECONDS
    with running.connect(START_SECONDS) as client:
        waiting = {pool.region: pool.processes for pool in pools}
        while True:
            joined = check_scheduler(client)["pools"]
            for region in [r for r, wanted in waiting.items() if joined.get(r, 0) >= wanted]:
                tell(f"pool {pool_name(region)}: {counted(waiting.pop(region), 'worker process', 'worker processes')}")
            lost = [r for r in waiting if not is_alive(running.pids[r])]
            if lost or (waiting and monotonic() > deadline):
                region = (lost or sorted(waiting))[0]
                log = folder / f"{region}.log"
                raise PlacementError(
                    f"The pool of {region} did not start. The last errors in its log {log}:\n{_causes(log)}"
                )
            if not waiting:
                return
            sleep(0.05)


#: Lines of a log that are not errors: information, and frames of tracebacks.
_NO_CAUSE = re.compile(r"\s|$|\^|Traceback |The above exception |During handling |.* - (INFO|DEBUG) - ")


def _causes(log: Path, lines: int = 6) -> str:
    """Return the last error lines of a log, each once."""
    lines_of_log = log.read_text(errors="replace").splitlines() if log.exists() else []
    causes = list(dict.fromkeys(line for line in lines_of_log if not _NO_CAUSE.match(line)))
    return "\n".join("  " + line for line in (causes or lines_of_log)[-lines:])
