"""Regions as network namespaces, joined by the relay.

Belongs here: bringing the network up and down, entering a Region, asking for the relay's counts. Does not belong here: how
packets travel (relay), what runs inside (machines).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any


def lacking() -> str | None:
    """What this machine lacks for a network of namespaces; None if nothing."""
    if os.geteuid() != 0:
        return "Network namespaces need root: run as root."
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is not there: load the kernel's module tun, or use a machine that has it."
    missing = [tool for tool in ("ip", "nsenter", "unshare") if shutil.which(tool) is None]
    return f"{', '.join(missing)} not found. On Debian: apt-get install iproute2 util-linux." if missing else None


class Network:
    """A network of Regions; a context manager.

    Parameters
    ----------
    regions
        Names; each gets a namespace with one address. Names such as ``exeter#1`` and ``exeter#2`` are machines of one
        Region, without delay between them.
    rtt_ms, mbit
        Round-trip time of each pair in ms, and rate of each direction in Mbit/s.
    """

    def __init__(self, regions: list[str], rtt_ms: float = 80.0, mbit: float = 200.0) -> None:
        self.regions = regions
        self._command = [sys.executable, "-m", "benchmarks.wan.relay", str(rtt_ms), str(mbit), *regions]

    def __enter__(self) -> Network:
        if problem := lacking():
            raise SystemExit(problem)
        self._relay = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._spaces: dict[str, dict[str, Any]] = self._line()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._relay.stdin is not None
        self._relay.stdin.close()
        self._relay.wait(10)

    def address(self, region: str) -> str:
        """The one address at which servers of a Region listen."""
        return str(self._spaces[region]["address"])

    def process(self, region: str) -> int:
        """Id of a process in a Region's namespace."""
        return int(self._spaces[region]["pid"])

    def inside(self, region: str) -> list[str]:
        """Words before a command that make it run in a Region."""
        return ["nsenter", "--net", "--target", str(self._spaces[region]["pid"]), "--"]

    def tell(self, words: str = "count") -> dict[str, int]:
        """Bytes so far by ``"src->dst"``, packet headers included; other words of the relay are heard too."""
        assert self._relay.stdin is not None
        self._relay.stdin.write(words + "\n")
        self._relay.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._relay.stdout is not None
        line = self._relay.stdout.readline()
        if not line:
            raise SystemExit("The relay ended; what it said is above.")
        found: dict[str, Any] = json.loads(line)
        return found
