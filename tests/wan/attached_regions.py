"""A project whose Regions are machines of their own: a network namespace and a view of the file system each, TLS everywhere.

Belongs here: the machines, and the commands of the documentation on them. Does not belong here: what is tested.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.wan.network import Network
from tests.support.commands import XDASK, Commands

REPO = Path(__file__).parents[2]
CLIENT, STANDBY, DARMSTADT, OREGON, SYDNEY = "exeter", "standby", "darmstadt", "us-west-2", "ap-southeast-2"
#: Region of the sample whose files a Region of the project has.
HOLDS = {DARMSTADT: "us-east-1", OREGON: "us-west-2", SYDNEY: "us-west-2"}
#: Experiments that a Region of the project does not have: no two of the main job are in the same one.
LACKS = {OREGON: ("pre-industrial", "E1"), SYDNEY: ("A1B",)}
NAME, PORT, PORTS = "dask.test", 8786, "9000-9031"
TOPOLOGY = f"""
profile: attached
scheduler: tls://{NAME}:{PORT}
client: {{region: {CLIENT}, country: GB}}
workers:
  - region: {DARMSTADT}
    country: DE
    datasets:
      - {{name: era5, layout: era5-pds, mount: era5-pds, excerpt: true}}
  - region: {OREGON}
    datasets:
      - {{name: cmip6, layout: cmip6-pds, mount: cmip6}}
  - region: {SYDNEY}
    datasets:
      - {{name: cmip6, layout: cmip6-pds, mount: cmip6}}
"""
#: Puts the file of names over the machine's own, and an empty folder over each folder up to `--`.
_MACHINE = (
    'mount --bind "$1" /etc/hosts || exit 1; shift; while [ "$1" != -- ]; do mount -t tmpfs -o ro,size=4k hidden "$1" || '
    'exit 1; shift; done; shift; exec "$@"'
)
_CERTIFICATES = ("ca.pem", "node.pem", "node-key.pem")


class AttachedRegions(Commands):
    """Machines in a network, each with its own folder; the client's has the project."""

    def __init__(self, network: Network, top: Path) -> None:
        super().__init__(top)
        self.network, self.top = network, top
        self.hosts = top / "hosts"
        for region in (CLIENT, STANDBY, *HOLDS):
            self.folder(region).mkdir()
        for region, sample in HOLDS.items():
            shutil.copytree(REPO / "data" / sample, self.folder(region) / "data", ignore=_others(region))
            (self.folder(region) / "results").mkdir()
        (self.folder(CLIENT) / "regions.yaml").write_text(TOPOLOGY)
        self.name_scheduler(CLIENT)
        self.xdask("certs", "--host", NAME)
        for region in HOLDS:
            (self.folder(region) / "certs").mkdir()
            for name in _CERTIFICATES:
                shutil.copy(self.folder(CLIENT) / "var" / "certs" / name, self.folder(region) / "certs" / name)

    def folder(self, region: str) -> Path:
        """Return the only folder that a Region sees."""
        return self.top / region

    def name_scheduler(self, region: str) -> None:
        """Let the scheduler's name lead to a Region, for all machines at once."""
        self.hosts.write_text(f"127.0.0.1 localhost\n{self.network.address(region)} {NAME}\n")

    def _words(self, region: str, words: tuple[str, ...]) -> list[str]:
        hidden = [
            str(self.folder(r)) for r in (CLIENT, *HOLDS) if r != region and not (region == STANDBY and r == CLIENT)
        ]
        machine = ["unshare", "--mount", "sh", "-c", _MACHINE, "sh", str(self.hosts), *hidden, "--"]
        return [*self.network.inside(region), *machine, XDASK, *words]

    def _place(self, region: str) -> Path:
        return self.folder(CLIENT if region == STANDBY else region)

    def xdask(self, *words: str, fails: bool = False) -> str:
        """Run a command of the client to its end; what it printed."""
        return self.run(self._words(CLIENT, words), self.folder(CLIENT), fails=fails)

    def start(self, name: str, region: str, *words: str) -> subprocess.Popen[bytes]:
        """Start a command on a machine; its log is `log`."""
        return self.spawn(name, self._words(region, words), self._place(region))

    def worker(self, name: str, region: str) -> None:
        """Start workers of a Region, on a machine that has the wheel, the certificates and the data alone."""
        words = [
            "worker",
            "--region",
            region,
            "--scheduler",
            f"tls://{NAME}:{PORT}",
            "--certs",
            "certs",
            "--name",
            name,
        ]
        self.start(
            name, region, *words, "--data", "data", "--results", "results", "--ports", PORTS, "--processes", "1",
            "--threads", "2",
        )  # fmt: skip

    def scheduler(self, region: str) -> None:
        """Start the scheduler on a machine."""
        self.start(f"scheduler-{region}", region, "scheduler", "--dashboard", "127.0.0.1:0")


def _others(region: str) -> Callable[..., set[str]] | None:
    """Return what `shutil.copytree` leaves out for a Region."""
    return shutil.ignore_patterns(*LACKS[region]) if region in LACKS else None


@contextmanager
def attached_regions(top: Path) -> Iterator[AttachedRegions]:
    """Bring the machines up; everything is stopped at the end."""
    with Network([CLIENT, STANDBY, *HOLDS], rtt_ms=80.0, mbit=200.0) as network:
        regions = AttachedRegions(network, top)
        try:
            yield regions
        finally:
            regions.stop_all()
