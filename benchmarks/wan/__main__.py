"""`python -m benchmarks.wan`: jobs over a wide-area network made on this machine, ours beside what else one would pick.

Belongs here: the order of runs, asking the relay, the table. Does not belong here: network, machines, ways, jobs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from dask.highlevelgraph import MaterializedLayer

from benchmarks.wan.inputs import CLIENT, WORKERS, from_files, inputs, write
from benchmarks.wan.jobs import ANALYSES, JOBS
from benchmarks.wan.line_protocol import talking
from benchmarks.wan.network import Network, lacking
from benchmarks.wan.settings import settings
from benchmarks.wan.smallest_cut import smallest_cut
from benchmarks.wan.ways import WAYS

#: What took a way longer than this is not done again: its one figure stands, and the table says so.
SLOW_SECONDS = 30.0


def measure(
    network: Network, way: str, jobs: list[str], short: bool, root: Path, logs: Path, known: dict[str, Any]
) -> list[dict[str, Any]]:
    """One way through all jobs, with the bytes that the relay counted for each."""
    regions = (*WORKERS, CLIENT)
    asked = {
        "way": way,
        "jobs": jobs,
        "short": short,
        "settings": known,
        "root": str(root),
        "logs": str(logs),
        "spaces": {r: network.inside(r) for r in regions},
        "addresses": {r: network.address(r) for r in regions},
    }
    measured = []
    command = [*network.inside(CLIENT), sys.executable, "-m", "benchmarks.wan.inside"]
    with talking(command, f"{way} failed; the logs of its processes are in {logs}.") as talk:
        talk.say(json.dumps(asked))
        for job in jobs:
            talk.hear()
            before = network.tell()
            talk.say("go")
            talk.hear()
            after = network.tell()
            talk.say("on")
            across = {pair: after[pair] - before[pair] for pair in after if after[pair] > before[pair]}
            measured.append({"job": job, "way": way, **talk.hear(), "bytes_across": across})
    return measured


def main() -> None:
    """Run what is asked for and print it; with ``--json`` write it too."""
    asked = _arguments()
    if asked.list:
        print("\n".join(f"{name:28}{job.what}" for name, job in JOBS.items()))
        return
    if set(asked.job or ()) & set(ANALYSES) and asked.way != ["ours"]:
        raise SystemExit("Analyses made from a seed are done our way alone: add `--way ours`.")
    if problem := lacking():
        raise SystemExit(problem)
    jobs, ways = asked.job or list(JOBS), asked.way or list(WAYS)
    wanted = inputs(asked.short)
    root = asked.data or Path(tempfile.gettempdir()) / f"xdask-wan-{'short' if asked.short else 'full'}"
    print(f"inputs in {root}", flush=True)
    write(root, wanted)
    fields = from_files(wanted, root)
    home = {fields[name].data.name: one.region for name, one in wanted.items()}
    wholes = {job: (JOBS | ANALYSES)[job].whole(fields) for job in jobs}
    cuts = {job: smallest_cut(whole, home | _pinned(whole)) + _embedded(whole) for job, whole in wholes.items()}
    floors = {job: smallest_cut(whole, home | _pinned(whole), client_computes=True) for job, whole in wholes.items()}
    known = settings(asked.rtt_ms, asked.mbit)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as logs:
        for i in range(asked.rounds):
            for way in ways:  # ways take turns, so that a noisy minute hits all of them
                due = [job for job in jobs if all(r["seconds"] < SLOW_SECONDS for r in found.get((job, way), ()))]
                print(f"round {i + 1} of {asked.rounds}: {way}", flush=True)
                with Network([*WORKERS, CLIENT], asked.rtt_ms, asked.mbit) as network:
                    for one in measure(network, way, due, asked.short, root, Path(logs), known):
                        found.setdefault((one["job"], way), []).append(one)
        for picture in Path(logs).glob("*.svg") if asked.pictures else ():
            asked.pictures.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, asked.pictures)
        for job in jobs:
            _same_results(job, [found[job, way][-1] for way in ways])
    documents = []
    for (job, _), runs in found.items():
        middle = sorted(runs, key=lambda r: r["seconds"])[len(runs) // 2]
        seconds = statistics.median(r["seconds"] for r in runs)
        documents.append(
            {
                **{k: v for k, v in middle.items() if k != "values"},
                "seconds": seconds,
                "runs": len(runs),
                "smallest_cut_bytes": cuts[job],
                "floor_bytes": floors[job],
            }
        )
    _table(jobs, ways, documents)
    if asked.json:
        asked.json.write_text(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2) + "\n")


def _embedded(whole: xr.DataArray) -> int:
    """Bytes of arrays that travel with the graph: they are the client's, and cross once at least."""
    layers = [layer for layer in whole.__dask_graph__().layers.values() if isinstance(layer, MaterializedLayer)]
    values = [getattr(value, "value", value) for layer in layers for value in layer.mapping.values()]
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


def _pinned(whole: xr.DataArray) -> dict[str, str]:
    """Regions of the fields that are made there, by the names of their layers."""
    marks = {f"pin@@{region.replace('-', '_')}-": region for region in WORKERS}
    return {n: region for n in whole.__dask_graph__().layers for mark, region in marks.items() if n.startswith(mark)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wan", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--job",
        action="append",
        choices=[*JOBS, *ANALYSES],
        metavar="JOB",
        help="job; may be given again; all by default",
    )
    parser.add_argument("--way", action="append", choices=list(WAYS), help="way; may be given again; all by default")
    parser.add_argument("--rtt-ms", type=float, default=80.0, help="round-trip time between any two Regions")
    parser.add_argument("--mbit", type=float, default=200.0, help="rate of each direction between any two Regions")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many")
    parser.add_argument("--short", action="store_true", help="small inputs: for bytes, not for seconds")
    parser.add_argument("--data", type=Path, help="folder of the inputs; made there if missing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the plan of each job there (our way)")
    parser.add_argument("--list", action="store_true", help="say which jobs there are")
    return parser.parse_args()


def _same_results(job: str, runs: list[dict[str, Any]]) -> None:
    first = np.load(runs[0]["values"])
    for run in runs[1:]:
        if not np.allclose(np.load(run["values"]), first, rtol=1e-9, atol=1e-9):
            raise SystemExit(f"{job}: {run['way']} and {runs[0]['way']} disagree")


def _table(jobs: list[str], ways: list[str], documents: list[dict[str, Any]]) -> None:
    by = {(d["job"], d["way"]): d for d in documents}
    for job in jobs:
        print(f"\n{job}: {(JOBS | ANALYSES)[job].what}; smallest cut {by[job, ways[0]]['smallest_cut_bytes']:,} B")
        base = "ours" if "ours" in ways else ways[-1]
        least = sum(by[job, base]["bytes_across"].values())
        print(
            f"  {'way':12}{'s':>8}{'MB across':>12}{'tasks':>8}{'restricted':>12}{'runs':>6}   as multiples of {base}"
        )
        for way in ways:
            d = by[job, way]
            across = sum(d["bytes_across"].values())
            print(
                f"  {way:12}{d['seconds']:8.2f}{across / 1e6:12.3f}{d['tasks']:8}{d['restricted_tasks']:12}{d['runs']:6}"
                f"   {d['seconds'] / by[job, base]['seconds']:6.2f} x time {across / max(least, 1):8.1f} x bytes"
            )
        if "ours" in ways:
            _foretold(by[job, "ours"])


def _foretold(d: dict[str, Any]) -> None:
    """What the plan and the evidence say of a job, beside what the relay counted."""
    plan, evidence, relay = d["plan"], d["evidence"], sum(d["bytes_across"].values())
    rows = [
        (n.replace("_", " "), sum(plan[n].values()), sum(evidence[n].values()))
        for n in ("tasks_by_region", "bytes_read_by_region", "bytes_across", "cost_usd")
    ]
    for name, said, was in [*rows, ("seconds", plan["seconds"], d["seconds"])]:
        print(f"    {name:22} plan {said:>15,.7g}  was {was:>15,.7g}  {_off(said, was)}")
    told = sum(evidence["bytes_across"].values())
    print(f"    {'bytes on the wire':22} evidence {told:>11,}  was {relay:>15,}  {_off(told, relay)}")


def _off(said: float, was: float) -> str:
    return f"{said / was - 1:+.1%}" if was else "-"


if __name__ == "__main__":
    main()
