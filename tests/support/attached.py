"""A project whose pools are attached: its scheduler and workers run by the commands that the documentation gives.

Belongs here: the project, its processes, and commands in it. Does not belong here: what is tested.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.free_ports import free_port

REPO = Path(__file__).parents[2]
XDASK = str(Path(sys.executable).with_name("xdask"))
#: Names of Regions, two of which AWS does not know, and the folder of the sample that each holds.
DARMSTADT, OREGON = "darmstadt", "us-west-2"
HOLDS = {DARMSTADT: "us-east-1", OREGON: "us-west-2"}
TOPOLOGY = """
profile: attached
scheduler: tls://localhost:{port}
client: {{region: exeter, name: Met Office, country: GB}}
links:
  - {{between: [exeter, darmstadt], rtt_ms: 20, mbit: 10000, usd_per_gb: 0, kwh_per_gb: 0.5}}
workers:
  - region: darmstadt
    name: EUMETSAT
    country: DE
    datasets:
      - {{name: era5, layout: era5-pds, mount: era5-pds, excerpt: true}}
  - region: us-west-2
    datasets:
      - {{name: cmip6, layout: cmip6-pds, mount: cmip6}}
"""


class AttachedProject:
    """A project and what runs for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for region, sample in HOLDS.items():
            shutil.copytree(REPO / "data" / sample, folder / "data" / region)
            (folder / "results" / region).mkdir(parents=True)
        self.port = free_port()
        (folder / "regions.yaml").write_text(TOPOLOGY.format(port=self.port))
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("XDASK_")}

    def xdask(self, *words: str, fails: bool = False, inside: Path | None = None) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            [XDASK, *words],
            cwd=inside or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, name: str, *words: str, inside: Path | None = None) -> None:
        """Start a command that runs until it is stopped; its log is `log`."""
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                [XDASK, *words], cwd=inside or self.folder, env=self.environment, stdout=log, stderr=log
            )

    def worker(self, name: str, region: str, *more: str) -> None:
        """Start a worker of a Region, from a folder that is no project."""
        certs, results = self.folder / "var" / "certs", self.folder / "results" / region
        away = self.folder.parent / f"{self.folder.name}-{name}"
        away.mkdir(exist_ok=True)
        words = ["worker", "--region", region, "--scheduler", f"tls://localhost:{self.port}", "--certs", str(certs)]
        words += ["--data", str(self.folder / "data" / region), "--results", str(results), "--name", name]
        self.start(name, *words, *more, inside=away)

    def log(self, name: str) -> Path:
        """Return the log of a command."""
        return self.folder / f"{name}.log"

    def stop(self, name: str, number: int = signal.SIGTERM, timeout: float = 40) -> int:
        """Send a command a signal, and wait for its end; its exit code."""
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(timeout)


@contextmanager
def attached_project(folder: Path) -> Iterator[AttachedProject]:
    """Make a project with certificates; whatever runs is stopped at the end."""
    folder.mkdir()
    project = AttachedProject(folder)
    project.xdask("certs", "--host", "localhost")
    try:
        yield project
    finally:
        for process in project.running.values():
            process.send_signal(signal.SIGTERM)
        for process in project.running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
