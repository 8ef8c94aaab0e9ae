"""`python -m benchmarks.climate [--hours H] [--rounds N]`: a month's partial through a pool, in CPU seconds and memory.

Belongs here: rounds, medians and the table. Does not belong here: ways, months, clocks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from benchmarks.climate.meter import Cost, Meter
from benchmarks.climate.month import SHAPE, Month, written_month
from benchmarks.climate.ways import decompression, ours, slabs

ONE, TWO = "ours, one process", "ours, two processes"
WRITTEN, NUMPY = "ours, one process, written at home", "ours, one process, without Numba"
SLABS = "netCDF4, slabs of 24 h"
INFLATE, DECODE = "limit: inflate alone", "limit: inflate and unshuffle"
Costs = Mapping[str, Sequence[Cost]]


def measured(month: Month, data: Path, rounds: int) -> Costs:
    """Return what each round of each way cost; the first one is that of new processes, and is followed by ``rounds``.

    Ways take turns, so that a noisy minute hits all of them.
    """
    found: defaultdict[str, list[Cost]] = defaultdict(list)
    digests: set[str] = set()
    with ExitStack() as stack:
        results = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=data)))
        one, computed, written = stack.enter_context(ours([month], data, results, 1, numba=True))
        two, computed_by_two, _ = stack.enter_context(ours([month], data, results, 2, numba=True))
        numpy, computed_by_numpy, _ = stack.enter_context(ours([month], data, results, 1, numba=False))
        plain, summed = stack.enter_context(slabs([month], 1))
        runs: dict[str, tuple[Meter, Callable[[], str]]] = {
            ONE: (Meter(one), computed),
            WRITTEN: (Meter(one), written),
            TWO: (Meter(two), computed_by_two),
            NUMPY: (Meter(numpy), computed_by_numpy),
            SLABS: (Meter(plain), summed),
        }
        for i in range(rounds + 1):
            for name, (meter, run) in runs.items():
                print(f"  round {i} of {rounds}: {name:40}", end="\r", flush=True)
                found[name].append(meter.cost(lambda run=run: digests.add(run())))
            if i:
                for name, seconds in zip((INFLATE, DECODE), decompression(month), strict=True):
                    found[name].append(Cost(seconds, seconds, 0.0))
    if len(digests) > 1:
        raise SystemExit(f"the ways have different sums: {sorted(digests)}")
    return found


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of each figure."""
    return Cost(*(statistics.median(getattr(c, name) for c in costs) for name in ("seconds", "cpu", "megabytes")))


def table(found: Costs) -> list[str]:
    """Return the lines of the table, and of the ratios that have targets."""
    middle = {name: median(costs if name in (INFLATE, DECODE) else costs[1:]) for name, costs in found.items()}
    slabs_cpu, inflate = middle[SLABS].cpu, middle[INFLATE].cpu
    head = ("way", "CPU s", "s", "MB", "of netCDF4", "share of limit", "first, CPU s")
    lines = ["{:36}{:>8}{:>8}{:>7}{:>12}{:>16}{:>14}".format(*head)]
    for name, cost in middle.items():
        limit = name in (INFLATE, DECODE)
        memory, first = ("", "") if limit else (f"{cost.megabytes:.0f}", f"{found[name][0].cpu:.2f}")
        shares = f"{cost.cpu / slabs_cpu:12.2f}{100 * inflate / cost.cpu:14.0f} %"
        lines.append(f"{name:36}{cost.cpu:8.2f}{cost.seconds:8.2f}{memory:>7}{shares}{first:>14}")
    return [*lines, "", f"CPU of two processes, as a multiple of that of one: {middle[TWO].cpu / middle[ONE].cpu:.2f}"]


def main() -> None:
    """Write the month if it is not there, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.climate", description=__doc__)
    parser.add_argument("--hours", type=int, default=744, help="hours of the month; 744 is a whole one")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after the first; medians are of these")
    parser.add_argument("--folder", type=Path, default=Path("var/bench/climate"), help="where months are kept")
    given = parser.parse_args()
    data = given.folder.resolve()
    month = written_month(data, given.hours)
    stored, chunks, shape = month.stored
    decoded = 4 * month.hours * SHAPE[0] * SHAPE[1]
    print(
        f"{month.hours} h of {SHAPE[0]} x {SHAPE[1]}: {stored / 1e6:.0f} MB stored, {decoded / 1e6:.0f} MB decoded "
        f"({decoded / stored:.1f} times), {len(chunks)} chunks of {shape}"
    )
    if find_spec("numba") is None:
        print("Numba is not installed: all ways of ours are without it")
    lines = table(measured(month, data, given.rounds))
    print(f"\nMedians of {given.rounds} rounds; CPU and peak memory are those of the worker processes.\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
