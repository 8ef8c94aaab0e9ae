"""Runs inside the client's Region: computes over two Regions while the network to one of them is cut.

`python outage.py` with a description on standard input; says "running" in mid-run, waits for a line, and tells what became
of the computation. After a second line it computes again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client

from benchmarks.wan.machines import Machines
from xdask_pipelines.placement import compute, pin, plan
from xdask_pipelines.placement.settings import Settings

BLOCKS = 80


def slow(region: str, token: str) -> da.Array:
    """Blocks of a quarter of a second each."""

    def make(block_id: Any = None) -> np.ndarray:
        from time import sleep

        sleep(0.25)
        return np.full(1_000, float(block_id[0]))

    chunks = ((1_000,) * BLOCKS,)
    return pin(da.map_blocks(make, chunks=chunks, dtype=float, meta=np.empty(0), name=f"slow-{token}"), region)


def say(document: object) -> None:
    print(json.dumps(document), flush=True)


def tried(client: Client, east: str, west: str, token: str, *, told: bool) -> dict[str, Any]:
    """Result or error of a computation in which both Regions take part."""
    lazy = (slow(east, f"east-{token}").sum() + slow(west, f"west-{token}").sum()) / 2
    said = not told
    started = monotonic()

    def listen(state: Any) -> None:
        nonlocal said
        if not said and sum(at.done for at in state.values()) >= 20:
            said = True
            say("running")
            sys.stdin.readline()

    try:
        (value,), evidence = compute(client, lazy, progress=listen)
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error), "seconds": monotonic() - started}
    planned = sum(plan(lazy).tasks_by_region.values())
    return {"value": float(value), "planned": planned, "seconds": monotonic() - started, **evidence.as_dict()}


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    east, west = asked["regions"]
    machines = Machines(asked["spaces"], asked["addresses"], Path(asked["root"]), Path(asked["logs"]))
    try:
        address = machines.scheduler(asked["client"], Settings(client_region=asked["client"], empty_pool_seconds=15.0))
        for region in (east, west):
            machines.workers(address, region, threads=2, placed=True, sees=region, nanny=True)
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=90)
            tried(client, east, west, "warm", told=False)
            say(tried(client, east, west, "first", told=True))
            if asked["again"]:
                sys.stdin.readline()
                # A worker that lost its scheduler ends, its nanny too: a service, or `xdask pools up`, starts the pool anew.
                machines.workers(address, west, threads=2, placed=True, sees=west, nanny=True)
                client.wait_for_workers(2, timeout=90)
                say(tried(client, east, west, "first", told=False))
    finally:
        machines.stop()


if __name__ == "__main__":
    main()
