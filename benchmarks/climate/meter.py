"""CPU seconds and peak memory of worker processes, seen from outside.

Belongs here: the meter. Does not belong here: what is measured (ways).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psutil
from distributed import Client


@dataclass(frozen=True)
class Cost:
    """What one run cost: seconds on the wall, CPU seconds of all workers, and peak memory of the largest in MB."""

    seconds: float
    cpu: float
    megabytes: float


class Meter:
    """Measures the workers of a client.

    Parameters
    ----------
    client
        A client whose workers run on this machine.
    """

    def __init__(self, client: Client) -> None:
        self.processes = [psutil.Process(pid) for pid in client.run(os.getpid).values()]

    def cost(self, run: Callable[[], object]) -> Cost:
        """Run something, and return what it cost the workers."""
        for process in self.processes:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak of memory begins here
        began, before = perf_counter(), self._cpu()
        run()
        seconds, cpu = perf_counter() - began, self._cpu() - before
        return Cost(seconds, cpu, max(map(_peak_megabytes, self.processes)))

    def _cpu(self) -> float:
        times = [process.cpu_times() for process in self.processes]
        return float(sum(t.user + t.system for t in times))


def _peak_megabytes(process: psutil.Process) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
