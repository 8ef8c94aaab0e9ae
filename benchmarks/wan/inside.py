"""Runs one way inside the client's Region: `python -m benchmarks.wan.inside` with a description on standard input.

It says "ready" before each job and waits for a line, so that the relay can be asked for its counts in between; after the
job it says what it took.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.wan.inputs import inputs
from benchmarks.wan.jobs import ANALYSES, JOBS
from benchmarks.wan.machines import Machines
from benchmarks.wan.ways import WAYS


def main() -> None:
    """Do each job that is asked for."""
    asked = json.loads(sys.stdin.readline())
    root, logs = Path(asked["root"]), Path(asked["logs"])
    machines = Machines(asked["spaces"], asked["addresses"], root, logs)
    way = WAYS[asked["way"]](machines, inputs(asked["short"]), asked["settings"])
    try:
        way.up()
        for name in asked["jobs"]:
            job = (JOBS | ANALYSES)[name]
            fields = way.fields(job.needs)
            predicted = None
            if hasattr(way, "predicted"):
                plan = way.predicted(job, fields)
                predicted = plan.as_dict()
                (logs / f"{name}.svg").write_bytes(plan.picture("svg"))
            before = way.tasks()
            _say({"ready": name})
            sys.stdin.readline()
            started = perf_counter()
            result = way.compute(job, fields)
            seconds = perf_counter() - started
            values = np.ascontiguousarray(result.transpose(*sorted(map(str, result.dims))).values, dtype="f8")
            _say({"seconds": seconds})
            sys.stdin.readline()  # the relay was asked
            file = logs / f"{name}-{asked['way']}.npy"
            np.save(file, values)
            digest = hashlib.blake2b(np.round(values, 6).tobytes(), digest_size=8).hexdigest()
            evidence = way.evidence.as_dict() if hasattr(way, "evidence") else None
            ran = {k: n - before[k] for k, n in way.tasks().items()}
            _say(
                {
                    "seconds": seconds,
                    "values": str(file),
                    "result_digest": digest,
                    "evidence": evidence,
                    "plan": predicted,
                    **ran,
                }
            )
        way.down()
    finally:
        machines.stop()


def _say(document: object) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
