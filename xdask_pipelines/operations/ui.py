"""The UI on this machine: pools and Dagster, started together, stopped together.

Belongs here: their processes, their port, one UI for each project. Does not belong here: what the UI shows (assets,
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
from xdask_pipelines.resources.pools import pools_of
from xdask_pipelines.system.files import write_atomically
from xdask_pipelines.system.ports import LOOPBACK, port_problem
from xdask_pipelines.system.processes import is_alive
from xdask_pipelines.system.signals import interrupted_by_signals, uninterrupted
from xdask_pipelines.topology import Topology

PORT = 3000
#: Two noisy cores needed 39 to 51 s from start to the loaded code location; nothing works until then.
START_SECONDS = 240.0
#: Dagster and its code server were gone after 4.4 s, with a browser connected.
STOP_SECONDS = 20.0
_CANCEL_SECONDS = 10.0
_POLL_SECONDS = 0.2
#: Tag of runs that a code server of the UI executes; runs of `xdask demo` do not have it.
_LAUNCHED = ".dagster/grpc_info"
_MODULE = "xdask_pipelines.definitions"
_GUARDED = "xdask_pipelines.operations.webserver"
_LOADED = """{workspaceOrError {... on Workspace {locationEntries {
    loadStatus locationOrLoadError {... on PythonError {message}}}}}}"""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """A UI: the process that watches over it, Dagster's own (leader of a session of its own), and the port."""

    pid: int
    dagster_pid: int
    dagster_started: float
    port: int

    @property
    def url(self) -> str:
        """Address of the asset graph."""
        return f"http://{LOOPBACK}:{self.port}/asset-groups"


def serve(topology: Topology, port: int = PORT, tell: Tell = lambda line: None) -> None:
    """Start the pools (unless they are up) and Dagster; stop what was started on Ctrl-C, SIGTERM or a closed terminal.

    Parameters
    ----------
    topology
        The project.
    port
        Port on loopback; Dagster has no login, so the UI listens nowhere else, and answers its own pages only.
    tell
        Called with a line for each thing that happened.

    Raises
    ------
    XdaskError
        If the port is taken or the project has a UI already; and if Dagster or the code location does not start or ends
        by itself, with the end of its log.
    """
    folder = topology.var / "ui"
    home = dagster_home(topology)
    folder.mkdir(parents=True, exist_ok=True)
    with interrupted_by_signals(), _only_one(folder):
        _end_leftover(folder)
        _refuse_busy(port)
        pools = pools_of(topology)
        ours = not pools.status().up
        dagster: Running | None = None
        try:
            with instance(topology) as history:  # made here first: several processes that make it at once can crash
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
            raise XdaskError(f"Dagster ended by itself. {_log_of(folder)}")
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
        tell("all stopped" if ours else "stopped; the pools were up before and stay up")


def running_ui(topology: Topology) -> Running | None:
    """The UI of this project, if it runs."""
    found = _recorded(topology.var / "ui")
    return found if found and is_alive(found.pid) and _alive(found) else None


# ---- one UI for each project ------------------------------------------------------------------------------------


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the project's lock, which the system frees however this process ends."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _recorded(folder)
            where = f"at {other.url} (process {other.pid})" if other else "and is starting"
            raise XdaskError(
                f"The UI of this project runs already, {where}. Open it, or stop it with Ctrl-C there."
            ) from None
        yield


def _recorded(folder: Path) -> Running | None:
    try:
        return Running(**json.loads((folder / "ui.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _end_leftover(folder: Path) -> None:
    """Stop the Dagster of a UI that was killed before it could."""
    if (left := _recorded(folder)) is not None:
        _stop(left)
        (folder / "ui.json").unlink(missing_ok=True)


def _end_ghosts(history: dg.DagsterInstance) -> None:
    """Runs that a killed UI left behind will never end, and would take the place of others for ever."""
    for run in _launched(history):
        history.report_run_failed(run, "The UI was killed while this run was under way. Launch it again.")


def _launched(history: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs under way in the UI's own processes."""
    active = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    return [r for r in history.get_runs(dg.RunsFilter(statuses=active)) if _LAUNCHED in r.tags]


def _cancel_runs(history: dg.DagsterInstance, tell: Tell) -> None:
    """Cancel what waits and what runs, so that no task stays on the scheduler and no run stays open in the history."""
    waiting = history.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    for run in [*waiting, *_launched(history)]:
        tell(f"cancelling run {run.run_id[:8]}")
        with suppress(Exception):  # its process may end at this very moment; whatever stays is stopped below
            history.run_coordinator.cancel_run(run.run_id)
    deadline = monotonic() + _CANCEL_SECONDS
    while _launched(history) and monotonic() < deadline:
        sleep(_POLL_SECONDS)


# ---- processes --------------------------------------------------------------------------------------------------


def _start(topology: Topology, folder: Path, home: Path, port: int) -> Running:
    """Start `dagster dev`: guarded webserver, daemon, and one code server for both."""
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
            start_new_session=True,  # Ctrl-C is for us alone: we stop all in order
        )
    started = Running(os.getpid(), process.pid, psutil.Process(process.pid).create_time(), port)
    write_atomically(folder / "ui.json", json.dumps(started.__dict__))
    return started


def _await_loaded(dagster: Running, folder: Path) -> None:
    """Wait until the webserver answers and the code location is there."""
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
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot see our loopback
    with opener.open(request, timeout=30) as answer:
        return dict(json.load(answer)["data"])


def _refuse_unguarded(port: int) -> None:
    """Refuse a webserver that answers under any name: a future Dagster may start one that is not ours."""
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
    """Whether Dagster's own process is there; ids are used again, start times are not."""
    if not is_alive(dagster.dagster_pid):
        return False
    with suppress(psutil.NoSuchProcess):
        return abs(psutil.Process(dagster.dagster_pid).create_time() - dagster.dagster_started) < 1
    return False


def _stop(dagster: Running) -> None:
    """Ask Dagster to end, wait for every process of its session, and kill what is left after a while."""
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
    """Living processes of Dagster's session, those whose parents have ended too."""
    session, found = dagster.dagster_pid, list[int]()
    if psutil.boot_time() > dagster.dagster_started or (is_alive(session) and not _alive(dagster)):
        return []  # after a restart of the machine, or by now, the id is another process's
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def _log_of(folder: Path, lines: int = 12) -> str:
    log = folder / "dagster.log"
    end = "\n".join("  " + line for line in log.read_text(errors="replace").splitlines()[-lines:])
    return f"Its log is {log}:\n{end}"


def _refuse_busy(port: int) -> None:
    problem = port_problem(port)
    if problem:
        free = next((p for p in range(port + 1, 65536) if p > 1023 and not port_problem(p)), PORT)
        raise XdaskError(f"{problem} Stop it, or choose another port: `xdask ui --port {free}`.")
