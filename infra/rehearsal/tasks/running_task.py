"""The processes of one ECS task.

Belongs here: starting, ending and watching them. Does not belong here: when (agent), what they are (task_definitions).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from infra.rehearsal.tasks.containers import Container, command
from infra.rehearsal.tasks.task_networks import Interface


@dataclass
class RunningTask:
    """A task whose processes run.

    Attributes
    ----------
    arn
        The task.
    interface
        Its network interface.
    containers
        Its containers, in the order in which they start.
    logs
        Folder of their output, a file for each container.
    """

    arn: str
    interface: Interface
    containers: Sequence[Container]
    logs: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ending_since: float = 0.0
    #: Open files by namespace: the kernel gives the number of one that nothing holds to the next container.
    _namespaces: dict[str, int] = field(default_factory=dict)

    def start(self, root: Path, hosts: Path, hidden: Sequence[Path]) -> None:
        """Start all containers; each is the leader of a group of processes."""
        for container in self.containers:
            words = [*self.interface.words, *command(container, root, hosts, hidden)]
            with self.log(container.name).open("ab") as log:
                self.processes[container.name] = subprocess.Popen(
                    words, env=dict(container.environment), stdout=log, stderr=log, cwd="/", start_new_session=True
                )

    def ready(self) -> bool:
        """Return whether all containers run, in file systems of their own."""
        if not all(_link(process.pid, "root") not in ("/", "") for process in self.processes.values()):
            return False
        for process in self.processes.values():
            with suppress(OSError):  # it has ended
                held = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY)
                self._namespaces[f"mnt:[{os.fstat(held).st_ino}]"] = held
        return True

    def log(self, container: str) -> Path:
        """Return the file of a container's output."""
        return self.logs / f"{self.arn.rpartition('/')[2][:8]}-{container}.log"

    def exit_codes(self) -> dict[str, int]:
        """Return the exit codes of containers that ended, as a container engine counts them."""
        codes = {name: process.poll() for name, process in self.processes.items()}
        return {name: code if code >= 0 else 128 - code for name, code in codes.items() if code is not None}

    def lost_essential(self) -> bool:
        """Return whether a container ended without which its task ends."""
        ended = self.exit_codes()
        return any(container.essential and container.name in ended for container in self.containers)

    def end(self) -> bool:
        """Ask all processes to end, force those that are late, and return whether all have ended."""
        if not self.ending_since:
            self.ending_since = monotonic()
            self._signal(signal.SIGTERM)
        late = {each.name for each in self.containers if monotonic() - self.ending_since > each.stop_seconds}
        self._signal(signal.SIGKILL, late)
        if any(process.poll() is None for process in self.processes.values()):
            return False
        self._end_rest()
        return True

    def kill(self) -> None:
        """End all processes at once, as when an instance is lost."""
        self._signal(signal.SIGKILL)
        for process in self.processes.values():
            process.wait(10)
        self._end_rest()

    def _end_rest(self) -> None:
        """End what a container's command left behind, as a container engine does: all processes of its namespace."""
        left = [each for each in Path("/proc").iterdir() if each.name.isdigit()] if self._namespaces else []
        for each in left:
            if _link(int(each.name), "ns/mnt") in self._namespaces:
                with suppress(ProcessLookupError):
                    os.kill(int(each.name), signal.SIGKILL)
        for held in self._namespaces.values():
            os.close(held)
        self._namespaces = {}

    def run(self, container: str, words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command inside of a container to its end, as ECS Exec does.

        Raises
        ------
        KeyError
            The container does not run.
        """
        enter, environment = self._enter(container)
        return subprocess.run(
            [*enter, *words], env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def _enter(self, container: str) -> tuple[list[str], dict[str, str]]:
        process, of = self.processes[container], next(each for each in self.containers if each.name == container)
        enter = ["nsenter", "--target", str(process.pid), "--mount", "--root"]
        enter += ["--net"] if self.interface.pid else []
        enter += ["--user", "--preserve-credentials"] if os.geteuid() else []
        enter.append("--")
        return [*enter, "setpriv", "--pdeathsig", "KILL", "env", "-C", of.folder], dict(of.environment)

    def _signal(self, number: signal.Signals, names: set[str] | None = None) -> None:
        for name, process in self.processes.items():
            if process.poll() is None and (names is None or name in names):
                # As an init process does: to the command, which ends its children; by force, to the whole group.
                if number == signal.SIGKILL:
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)


def _link(pid: int, name: str) -> str:
    """Return where a link of a process leads; empty if the process has ended."""
    try:
        return str(Path(f"/proc/{pid}/{name}").readlink())
    except OSError:
        return ""
