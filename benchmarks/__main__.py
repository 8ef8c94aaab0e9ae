"""`python -m benchmarks [NAME …]`: run all jobs, or those named, and print a table for each.

Belongs here: running ways side by side and comparing them. Does not belong here: what is measured (jobs).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.jobs import JOBS


def measure(job: str, way: str, folder: Path) -> dict[str, float]:
    """One way in a process of its own, so that its peak of memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.one", job, way, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{job}/{way} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main(names: list[str]) -> None:
    """In the order of JOBS, as some change what others look at. Ways take turns: a noisy minute hits all of them."""
    unknown = sorted(set(names) - set(JOBS))
    if unknown:
        raise SystemExit(f"no such job: {', '.join(unknown)}; there are {', '.join(JOBS)}")
    for name in [name for name in JOBS if not names or name in names]:
        job = JOBS[name]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            print(f"\n{name}: {job.what}", flush=True)
            left_out = job.prepare(folder) or ()
            found: dict[str, list[dict[str, float]]] = {way: [] for way in job.ways if way not in left_out}
            for i in range(job.rounds):
                print(f"  round {i + 1} of {job.rounds}", end="\r", flush=True)
                for way in found:
                    found[way].append(measure(name, way, folder))
        ours = next(iter(job.ways))
        print(f"  {'way':42}{'s':>9}{'CPU s':>9}{'MB':>8}   time and memory as multiples of ours")
        base = {k: statistics.median(r[k] for r in found[ours]) for k in ("seconds", "cpu", "megabytes")}
        for way, runs in found.items():
            row = {k: statistics.median(r[k] for r in runs) for k in base}
            print(
                f"  {way:42}{row['seconds']:9.3f}{row['cpu']:9.3f}{row['megabytes']:8.0f}"
                f"   {row['seconds'] / base['seconds']:6.2f} x {row['megabytes'] / max(base['megabytes'], 1):6.2f} x"
            )
        answers = {json.dumps(r["answer"]) for runs in found.values() for r in runs if "answer" in r}
        if len(answers) > 1:
            raise SystemExit(f"{name}: ways disagree: {answers}")


if __name__ == "__main__":
    main(sys.argv[1:])
