"""The UI on this machine: pools and Dagster, which are started and stopped together.

Belongs here: the processes, the port, and one UI for each project. Does not belong here: the content of the UI (assets,
resources).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import dagster as dg
import psutil

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.project import dagster_home, instance
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.system.files import write_atomically
from xdask_pipelines.system.ports import LOOPBACK, port_problem
from xdask_pipelines.system.processes import is_alive
from xdask_pipelines.system.signals import interrupted_by_signals, uninterrupted
from xdask_pipelines.topology import Topology

PORT = 3000
#: Timeout of the start. Two busy cores needed 39 to 51 s until the code location was loaded.
START_SECONDS = 240.0
#: Timeout of the stop. Dagster and its code server ended after 4.4 s with a connected browser.
STOP_SECONDS = 20.0
_CANCEL_SECONDS = 10.0
_POLL_SECONDS = 0.2
#: Tag of runs in a code server of the UI; runs of `xdask demo` do not have it.
_LAUNCHED = ".dagster/grpc_info"
_MODULE = "xdask_pipelines.definitions"
_GUARDED = "xdask_pipelines.operations.webserver"
_LOADED = """{workspaceOrError {... on Workspace {locationEntries {
    loadStatus locationOrLoadError {... on PythonError {message}}}}}}"""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """A running UI: its supervising process, Dagster's process (a session leader), and the port."""

    pid: int
    dagster_pid: int
    dagster_started: float
    port: int

    @property
    def url(self) -> str:
        """Return the address of the asset graph."""
        return f"http://{LOOPBACK}:{self.port}/asset-groups"


def serve(topology: Topology, port: int = PORT, tell: Tell = lambda line: None) -> None:
    """Start Dagster, and the pools if necessary; stop the started processes on Ctrl-C, SIGTERM or a closed terminal.

    Parameters
    ----------
    topology
        The project.
    port
        Port on loopback. Dagster has no login, so the UI listens only there and answers only its own pages.
    tell
        Called with a line for each event.

    Raises
    ------
    XdaskError
        If the port is in use, the project already has a UI, or Dagster or the code location does not start or ends
        unexpectedly.
    """
    folder = topology.var / "ui"
    home = dagster_home(topology)
    folder.mkdir(parents=True, exist_ok=True)
    with interrupted_by_signals(), _only_one(folder):
        _end_leftover(folder)
        _refuse_busy(port)
        pools = pools_of(topology)
        ours = pools.here and not pools.status().up
        dagster: Running | None = None
        try:
            with instance(topology) as history:  # created before several processes would at once, which can crash
                _end_ghosts(history)
            tell(f"starting Dagster{', scheduler and pools' if ours else ''}: half a minute or more")
            dagster = _start(topology, folder, home, port)
            pools.up(tell if ours else lambda line: None)
            pools.close()
            _await_loaded(dagster, folder)
            live = f"\nTasks and bytes by Region, live: {pools.dashboard}" if pools.dashboard else ""
            tell(f"\nThe asset graph is at {dagster.url}{live}\nCtrl-C stops everything.")
            while _alive(dagster):
                sleep(_POLL_SECONDS)
            raise XdaskError(f"Dagster ended unexpectedly. {_log_of(folder)}")
        except KeyboardInterrupt:
            tell("\nstopping")
        finally:
            with uninterrupted():
                if dagster:
                    if _alive(dagster):
                        with instance(topology) as history:
                            _cancel_runs(history, tell)
                    _stop(dagster)
                    (folder / "ui.json").unlink(missing_ok=True)
                if ours:
                    pools.down()
        tell("all stopped" if ours else "stopped; the pools were already running, and keep running")


def running_ui(topology: Topology) -> Running | None:
    """Return the running UI of this project, if any."""
    recorded = _recorded(topology.var / "ui")
    return recorded if recorded and is_alive(recorded.pid) and _alive(recorded) else None


# ---- one UI for each project ------------------------------------------------------------------------------------


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the project's lock, which the system releases when this process ends."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _recorded(folder)
            where = f"at {other.url} (process {other.pid})" if other else "and is starting"
            raise XdaskError(
                f"The UI of this project is already running, {where}. Open it, or stop it there with Ctrl-C."
            ) from None
        yield


def _recorded(folder: Path) -> Running | None:
    try:
        return Running(**json.loads((folder / "ui.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _end_leftover(folder: Path) -> None:
    """Stop the Dagster processes of a UI that was killed."""
    if (left := _recorded(folder)) is not None:
        _stop(left)
        (folder / "ui.json").unlink(missing_ok=True)


def _end_ghosts(history: dg.DagsterInstance) -> None:
    """Mark the runs of a killed UI as failed, because they would never end and block others."""
    for run in _launched(history):
        history.report_run_failed(run, "The UI was killed during this run. Launch the run again.")


def _launched(history: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Return the unfinished runs in the UI's own processes."""
    active = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    return [r for r in history.get_runs(dg.RunsFilter(statuses=active)) if _LAUNCHED in r.tags]


def _cancel_runs(history: dg.DagsterInstance, tell: Tell) -> None:
    """Cancel waiting and running runs, so that no task stays on the scheduler and no run stays open in the history."""
    waiting = history.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    for run in [*waiting, *_launched(history)]:
        tell(f"cancelling run {run.run_id[:8]}")
        with suppress(Exception):  # its process may be ending; remaining processes are stopped below
            history.run_coordinator.cancel_run(run.run_id)
    deadline = monotonic() + _CANCEL_SECONDS
    while _launched(history) and monotonic() < deadline:
        sleep(_POLL_SECONDS)


# ---- processes --------------------------------------------------------------------------------------------------


def _start(topology: Topology, folder: Path, home: Path, port: int) -> Running:
    """Start `dagster dev`: the guarded webserver, the daemon, and one code server for both."""
    workspace = topology.root / "workspace.yaml"
    what = ["--workspace", str(workspace)] if workspace.exists() else ["--module-name", _MODULE]
    command = [sys.executable, "-m", _GUARDED, "dev", *what, "--host", LOOPBACK, "--port", str(port)]
    named = os.environ.get("XDASK_TOPOLOGY") or str(topology.root / "regions.yaml")
    environment = {**os.environ, "DAGSTER_HOME": str(home), "XDASK_TOPOLOGY": str(Path(named).resolve())}
    with (folder / "dagster.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--log-format", "rich"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=topology.root,
            env=environment,
            start_new_session=True,  # Ctrl-C must reach only this process, which stops all others in order
        )
    started = Running(os.getpid(), process.pid, psutil.Process(process.pid).create_time(), port)
    write_atomically(folder / "ui.json", json.dumps(started.__dict__))
    return started


def _await_loaded(dagster: Running, folder: Path) -> None:
    """Wait until the webserver answers and the code location is loaded."""
    deadline = monotonic() + START_SECONDS
    while _alive(dagster) and monotonic() < deadline:
        sleep(_POLL_SECONDS)
        with suppress(OSError, ValueError, KeyError):
            entries = _ask(dagster.port, _LOADED)["workspaceOrError"]["locationEntries"]
            problems = [e["locationOrLoadError"]["message"] for e in entries if e["locationOrLoadError"]]
            if problems:
                raise XdaskError(f"The code location cannot be loaded: {problems[0].strip()}\n{_log_of(folder)}")
            if entries and all(e["loadStatus"] == "LOADED" for e in entries):
                _refuse_unguarded(dagster.port)
                return
    raise XdaskError(f"Dagster did not start. {_log_of(folder)}")


def _ask(port: int, query: str, **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json", **headers},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach loopback
    with opener.open(request, timeout=30) as answer:
        return dict(json.load(answer)["data"])


def _refuse_unguarded(port: int) -> None:
    """Refuse a webserver that answers under any host name: a future Dagster version may start an unguarded one."""
    try:
        _ask(port, "{version}", Host="unguarded.invalid")
    except urllib.error.HTTPError as error:
        if error.code == 403:
            return
        raise
    raise XdaskError(
        f"The webserver on port {port} answers requests of any web page, so the UI is stopped. Install the locked "
        "versions with `pip install --require-hashes -r requirements.lock`."
    )


def _alive(dagster: Running) -> bool:
    """Return whether Dagster's process is alive, by id and start time, because ids are reused."""
    if not is_alive(dagster.dagster_pid):
        return False
    with suppress(psutil.NoSuchProcess):
        return abs(psutil.Process(dagster.dagster_pid).create_time() - dagster.dagster_started) < 1
    return False


def _stop(dagster: Running) -> None:
    """Ask Dagster to end, wait for every process of its session, and kill the remaining ones after a timeout."""
    if _alive(dagster):
        with suppress(ProcessLookupError):
            os.kill(dagster.dagster_pid, signal.SIGTERM)
    deadline = monotonic() + STOP_SECONDS
    while (members := _members(dagster)) and monotonic() < deadline:
        sleep(_POLL_SECONDS)
    for pid in members:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _members(dagster: Running) -> list[int]:
    """Return the living processes of Dagster's session, including orphans."""
    session, members = dagster.dagster_pid, list[int]()
    if psutil.boot_time() > dagster.dagster_started or (is_alive(session) and not _alive(dagster)):
        return []  # the id now belongs to another process
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def _log_of(folder: Path, lines: int = 12) -> str:
    log = folder / "dagster.log"
    end = "\n".join("  " + line for line in log.read_text(errors="replace").splitlines()[-lines:])
    return f"Its log is {log}:\n{end}"


def _refuse_busy(port: int) -> None:
    problem = port_problem(port)
    if problem:
        free = next((p for p in range(port + 1, 65536) if p > 1023 and not port_problem(p)), PORT)
        raise XdaskError(f"{problem} Stop it, or choose another port: `xdask ui --port {free}`.")
