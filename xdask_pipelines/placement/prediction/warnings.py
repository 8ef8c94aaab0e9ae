"""What to look at before running: the warnings of a plan.

Belongs here: limits and their messages. Does not belong here: the figures that they are held against (plan, forecast).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dask.typing import Key

from xdask_pipelines.placement.graph.fence import MAX_TASKS
from xdask_pipelines.placement.prediction.forecast import Forecast, Step
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.units import format_bytes

#: More than this from one Region to another is worth a word.
MUCH_BYTES = 100_000_000
#: More than this spent on round trips to the scheduler is, too.
LONG_WAIT_SECONDS = 2.0


def of_run(expected: Forecast, steps: Mapping[Key, Step], settings: Settings) -> list[str]:
    """Warnings about memory and about round trips to the scheduler."""
    said = []
    for region, peak in sorted(expected.peak_bytes.items()):
        memory = settings.rates(region).memory_bytes
        if memory and peak > memory:
            said.append(
                f"{format_bytes(peak)} of results fill the pool of {region} at a time, which has {format_bytes(memory)}: "
                "split into partitions, or let the pool grow (max_workers in regions.yaml)."
            )
    largest: dict[str, int] = {}
    for step in steps.values():
        if step.region:
            needed = step.nbytes + sum(steps[d].nbytes for d in step.needs if d in steps)
            largest[step.region] = max(largest.get(step.region, 0), needed)
    for region, needed in sorted(largest.items()):
        limit = settings.rates(region).process_memory_bytes
        if limit and needed > limit:
            said.append(
                f"One task in {region} needs {format_bytes(needed)}, more than a worker process has there "
                f"({format_bytes(limit)}): use smaller chunks."
            )
    for region, levels in sorted(expected.round_trips.items()):
        waits = levels * settings.link(settings.client_region, region).rtt_seconds
        if not settings.one_machine and waits > LONG_WAIT_SECONDS:
            said.append(
                f"{levels} tasks in a row in {region} wait {waits:.1f} s for word from the scheduler in "
                f"{settings.client_region}: use larger chunks, so that steps of one chunk become one task."
            )
    return said


def of_graph(
    tasks: int, guessed: Sequence[Key], neutral_bytes: int, across: Mapping[str, int], settings: Settings
) -> list[str]:
    """Warnings about tasks, bytes across, tasks without a home, and sizes that nothing tells."""
    said = []
    if tasks > MAX_TASKS:
        said.append(
            f"{tasks:,} tasks are more than the {MAX_TASKS:,} that one submission may have: split into partitions."
        )
    for pair, n in sorted(across.items()):
        src, dst = pair.split("->")
        if n > MUCH_BYTES:
            remedy = "write it at home instead" if dst == settings.client_region else "reduce or regrid it there first"
            said.append(f"{format_bytes(n)} would move from {src} to {dst}: {remedy}.")
    if neutral_bytes > MUCH_BYTES:
        said.append(
            f"{format_bytes(neutral_bytes)} are made by tasks without a home, which run anywhere: placement.pin gives "
            "them one."
        )
    if guessed:
        said.append(
            f"The sizes of {len(guessed)} tasks' results are guesses from their inputs, for example that of "
            f"{str(guessed[0])!r}."
        )
    return said
