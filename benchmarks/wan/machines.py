"""Real Dask schedulers, workers and file servers inside Regions.

Belongs here: starting and stopping their processes. Does not belong here: what is computed on them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from distributed import Client

from benchmarks.wan.inputs import PORT, WORKERS

if TYPE_CHECKING:
    from xdask_pipelines.placement.settings import Settings

_PRELOAD = ("--preload", "xdask_pipelines.placement.preload")
_HIDE = 'for folder in $HIDDEN; do mount -t tmpfs -o size=4k,ro tmpfs "$folder"; done; exec "$@"'


class Machines:
    """Processes in Regions, stopped together by the ids that were started.

    Parameters
    ----------
    spaces
        Words by Region that make a command run there.
    addresses
        Address by Region.
    root, logs
        Folder with one folder of data for each Region; folder for logs.
    """

    def __init__(self, spaces: Mapping[str, list[str]], addresses: Mapping[str, str], root: Path, logs: Path) -> None:
        self.spaces, self.addresses, self.root, self.logs = spaces, addresses, root, logs
        self._started: list[subprocess.Popen[bytes]] = []

    def serve_files(self) -> None:
        """A file server in each worker Region, which serves that Region's folder."""
        for region in WORKERS:
            words = [sys.executable, "-m", "benchmarks.wan.files", self.addresses[region], str(PORT)]
            self._start(region, [*words, str(self.root / region)], f"files-{region}")

    def scheduler(self, region: str, settings: Settings | None = None) -> str:
        """Start a scheduler, one that places tasks if it is given settings; its address."""
        environment = replace(settings, owner=os.getpid()).to_environment() if settings else {}
        file = self.logs / f"scheduler-{region}-{len(self._started)}.json"
        file.unlink(missing_ok=True)
        words = ["scheduler", "--host", self.addresses[region], "--port", "0", "--scheduler-file", str(file)]
        self._dask(region, [*words, "--no-dashboard", *(_PRELOAD if settings else ())], environment)
        deadline = monotonic() + 60
        while monotonic() < deadline:
            if file.exists() and (text := file.read_text()):
                return str(json.loads(text)["address"])
            sleep(0.05)
        raise SystemExit(f"the scheduler in {region} did not start; its log is in {self.logs}")

    def workers(
        self,
        address: str,
        region: str,
        *,
        threads: int,
        placed: bool = False,
        sees: str | None = None,
        nanny: bool = False,
    ) -> None:
        """Start one worker in a Region; it sees no folder of data but that of the Region ``sees``."""
        hidden = " ".join(str(self.root / r) for r in WORKERS if r != sees)
        environment = {"HIDDEN": hidden}
        if placed and sees:
            environment["XDASK_REGION_DATA"] = str(self.root / sees)
        words = ["worker", address, "--host", self.addresses[region], "--nthreads", str(threads), "--no-dashboard"]
        words += [
            "--resources",
            f"pool-{region}=1",
            "--nanny" if nanny else "--no-nanny",
            "--local-directory",
            str(self.logs),
        ]
        self._dask(
            region, [*words, *(_PRELOAD if placed else ())], environment, ["unshare", "-m", "sh", "-c", _HIDE, "sh"]
        )

    def stop(self) -> None:
        """Stop all, the last first."""
        for process in reversed(self._started):
            process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._started.clear()

    def _dask(
        self, region: str, words: list[str], environment: dict[str, str], prefix: list[str] | None = None
    ) -> None:
        command = [*(prefix or []), sys.executable, "-m", "dask", *words]
        self._start(region, command, f"{words[0]}-{region}", environment)

    def _start(self, region: str, command: list[str], name: str, environment: Mapping[str, str] | None = None) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.spaces[region], *command], stdout=log, stderr=log, env={**os.environ, **(environment or {})}
            )
        self._started.append(process)


def counted(client: Client) -> None:
    """Make the scheduler count tasks that ran, and those of them that had resource restrictions."""
    client.run_on_scheduler(_count)


def counts(client: Client) -> dict[str, int]:
    """Tasks since `counted`."""

    def look(dask_scheduler: Any) -> dict[str, int]:
        return dict(dask_scheduler.plugins["wan-count"].seen)

    found: dict[str, int] = client.run_on_scheduler(look)
    return found


def _count(dask_scheduler: Any) -> None:
    from distributed.diagnostics.plugin import SchedulerPlugin

    class Count(SchedulerPlugin):
        def __init__(self) -> None:
            self.seen = {"tasks": 0, "restricted_tasks": 0}

        def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
            if start == "processing" and finish == "memory":
                self.seen["tasks"] += 1
                self.seen["restricted_tasks"] += bool(dask_scheduler.tasks[key].resource_restrictions)

    dask_scheduler.add_plugin(Count(), name="wan-count", idempotent=False)
