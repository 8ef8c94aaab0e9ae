"""A project whose pools are attached: its scheduler and workers run by the commands that the documentation gives.

Belongs here: the project, and commands in it. Does not belong here: what is tested, processes (commands).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.rehearsal.servers.loopback import free_port
from tests.support.commands import XDASK, Commands

REPO = Path(__file__).parents[2]
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


class AttachedProject(Commands):
    """A project and what runs for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        for region, sample in HOLDS.items():
            shutil.copytree(REPO / "data" / sample, folder / "data" / region)
            (folder / "results" / region).mkdir(parents=True)
        self.port = free_port()
        (folder / "regions.yaml").write_text(TOPOLOGY.format(port=self.port))

    def xdask(self, *words: str, fails: bool = False, inside: Path | None = None) -> str:
        """Run a command to its end; what it printed."""
        return self.run([XDASK, *words], inside or self.folder, fails=fails)

    def start(self, name: str, *words: str, inside: Path | None = None) -> None:
        """Start a command that runs until it is stopped."""
        self.spawn(name, [XDASK, *words], inside or self.folder)

    def worker(self, name: str, region: str, *more: str) -> None:
        """Start a worker of a Region, from a folder that is no project."""
        certs, results = self.folder / "var" / "certs", self.folder / "results" / region
        away = self.folder.parent / f"{self.folder.name}-{name}"
        away.mkdir(exist_ok=True)
        words = ["worker", "--region", region, "--scheduler", f"tls://localhost:{self.port}", "--certs", str(certs)]
        words += ["--data", str(self.folder / "data" / region), "--results", str(results), "--name", name]
        self.start(name, *words, *more, inside=away)


@contextmanager
def attached_project(folder: Path) -> Iterator[AttachedProject]:
    """Make a project with certificates; whatever runs is stopped at the end."""
    folder.mkdir()
    project = AttachedProject(folder)
    project.xdask("certs", "--host", "localhost")
    try:
        yield project
    finally:
        project.stop_all()
