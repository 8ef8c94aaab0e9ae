"""One way of one job in this process: prints seconds, CPU seconds, growth of memory and the answer as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.jobs import JOBS


def main(job: str, way: str, folder: str) -> None:
    """Set up outside of the clock, then measure."""
    run = JOBS[job].ways[way](Path(folder))
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins here
    before = _status_kb("VmHWM")
    wall, cpu = perf_counter(), process_time()
    answer = run()
    wall, cpu = perf_counter() - wall, process_time() - cpu
    peak = _status_kb("VmHWM") - before
    document = {"seconds": wall, "cpu": cpu, "megabytes": peak / 1024}
    print(json.dumps(document | ({} if answer is None else {"answer": answer})))


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
