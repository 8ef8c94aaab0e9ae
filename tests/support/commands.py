"""Commands that run in a folder of logs until they are stopped.

Belongs here: starting and stopping processes. Does not belong here: which commands a project needs (attached).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

XDASK = str(Path(sys.executable).with_name("xdask"))


class Commands:
    """Processes by name, each with a log in a folder; none inherits the XDASK variables of this process."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        """Return the log of a command."""
        return self.logs / f"{name}.log"

    def run(self, words: Sequence[str], folder: Path, *, fails: bool = False, timeout: float = 180) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            words, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=timeout, check=False
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def spawn(self, name: str, words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
        """Start a command that runs until it is stopped."""
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(words, cwd=folder, env=_environment(), stdout=log, stderr=log)
        return self.running[name]

    def stop(self, name: str, number: int = signal.SIGTERM, timeout: float = 40) -> int:
        """Send a command a signal, and wait for its end; its exit code."""
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(timeout)

    def stop_all(self) -> None:
        """Stop whatever runs, by force what does not end in time."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("XDASK_")}
