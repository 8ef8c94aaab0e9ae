"""ministack, an emulator of AWS, on loopback for as long as a block runs.

Belongs here: starting and stopping it, and what can be asked of its Python environment. Does not belong here: what the
emulator lacks (stand_ins, proxy).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import psutil

from infra.rehearsal.servers.loopback import free_port

#: Virtual environment of the emulator, which needs another botocore than ours; `make rehearse` creates it.
ENVIRONMENT_VARIABLE = "XDASK_EMULATOR"
_PATIENCE_SECONDS = 60
_LOOPBACK = ("127.", "::1", "::ffff:127.")
# BIND_HOST alone leaves MQTT on all addresses. Without the package docker, RDS and ECS start no containers.
_SETTINGS = {"BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "LOG_LEVEL": "WARNING"}


def emulator_python() -> Path:
    """Return the Python of the emulator's virtual environment.

    Raises
    ------
    SystemExit
        The environment was not created.
    """
    folder = Path(os.environ.get(ENVIRONMENT_VARIABLE) or Path(sys.prefix) / "emulator")
    python = folder / "bin" / "python"
    if not python.exists():
        raise SystemExit(
            f"{folder} has no emulator. Create it with `make .venv/.dev`, or name the virtual environment that has one: "
            f"{ENVIRONMENT_VARIABLE}=DIR."
        )
    return python


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    url: str
    account: str
    pid: int

    def open_ports(self) -> list[str]:
        """Return the addresses at which the emulator listens, as ``host:port``."""
        processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return sorted(
            f"{connection.laddr.ip}:{connection.laddr.port}"
            for process in processes
            for connection in process.net_connections(kind="inet")
            if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and connection.laddr
        )

    def ports_beyond_loopback(self) -> list[str]:
        """Return those addresses that other machines can reach."""
        return [address for address in self.open_ports() if not address.startswith(_LOOPBACK)]


@contextmanager
def emulator(account: str, folder: Path) -> Iterator[Emulator]:
    """Run an emulator of one account; its log is in the folder.

    Raises
    ------
    RuntimeError
        The emulator did not start, or listens beyond loopback.
    """
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    ends_with_us = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))},
        **_SETTINGS,
        "MINISTACK_ACCOUNT_ID": account,
        "GATEWAY_PORT": str(port),
        "TMPDIR": str(folder),
        "HOME": str(folder),
    }
    log = folder / "emulator.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*ends_with_us, str(emulator_python()), "-m", "ministack"],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )
    found = Emulator(f"http://127.0.0.1:{port}", account, process.pid)
    try:
        _await(found, process, log)
        if wide := found.ports_beyond_loopback():
            raise RuntimeError(f"The emulator listens beyond loopback, at {', '.join(wide)}. It was stopped.")
        yield found
    finally:
        process.kill()  # what it holds is in memory and of no use any more
        process.wait(20)


def _await(found: Emulator, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{found.url}/_ministack/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"The emulator did not start. Its log:\n{log.read_text()[-3000:]}") from None
            sleep(0.1)


def ask_emulator(program: str, value: object = None) -> object:
    """Run a program in the emulator's Python; ``value`` goes in and its answer comes out as JSON.

    Raises
    ------
    RuntimeError
        The program failed.
    """
    done = subprocess.run(
        [str(emulator_python()), "-W", "ignore", "-c", program],
        input=json.dumps(value),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"A program in the emulator's Python failed:\n{done.stderr[-3000:]}")
    answer: object = json.loads(done.stdout)
    return answer
