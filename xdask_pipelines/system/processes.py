"""Processes on this machine: starting one with a log, checking whether it is alive, stopping it by its id.

Belongs here: calls to the operating system. Does not belong here: which processes to start (cluster).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep

STOP_SECONDS = 10.0


def spawn(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """Start a process in a new session, append its output to a log, and return its id."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    return process.pid


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            return False
    except ChildProcessError:
        pass  # started by another process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def stop_processes(pids: Sequence[int]) -> None:
    """Ask processes to end, and kill the process groups of those that do not end in time."""
    for pid in pids:
        _signal(pid, signal.SIGTERM)
    deadline = monotonic() + STOP_SECONDS
    while any(is_alive(pid) for pid in pids) and monotonic() < deadline:
        sleep(0.05)
    for pid in pids:
        _signal(-pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
