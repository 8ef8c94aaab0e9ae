"""Warnings of a plan.

Belongs here: limits and their messages. Does not belong here: the figures that are compared with them (plan, forecast).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dask.typing import Key

from xdask_pipelines.placement.graph.fence import MAX_TASKS
from xdask_pipelines.placement.prediction.forecast import Forecast, Step
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.units import counted, format_bytes

#: Bytes from one Region to another above which a plan warns.
MUCH_BYTES = 100_000_000
#: Seconds of round trips to the scheduler above which a plan warns.
LONG_WAIT_SECONDS = 2.0


def of_run(expected: Forecast, steps: Mapping[Key, Step], settings: Settings) -> list[str]:
    """Return warnings about memory and about round trips to the scheduler."""
    warnings = []
    for region, peak in sorted(expected.peak_bytes.items()):
        memory = settings.rates(region).memory_bytes
        if memory and peak > memory:
            warnings.append(
                f"Results need up to {format_bytes(peak)} of memory in the pool of {region}, which has "
                f"{format_bytes(memory)}. Split the work into partitions, or let the pool grow (max_workers in "
                "regions.yaml)."
            )
    largest: dict[str, int] = {}
    for step in steps.values():
        if step.region:
            needed = step.nbytes + sum(steps[d].nbytes for d in step.needs if d in steps)
            largest[step.region] = max(largest.get(step.region, 0), needed)
    for region, needed in sorted(largest.items()):
        limit = settings.rates(region).process_memory_bytes
        if limit and needed > limit:
            warnings.append(
                f"One task in {region} needs {format_bytes(needed)} of memory, more than a worker process there has "
                f"({format_bytes(limit)}). Use smaller chunks."
            )
    for region, levels in sorted(expected.round_trips.items()):
        waits = levels * settings.link(settings.client_region, region).rtt_seconds
        if not settings.one_machine and waits > LONG_WAIT_SECONDS:
            warnings.append(
                f"{levels} consecutive tasks in {region} wait {waits:.1f} s for messages of the scheduler in "
                f"{settings.client_region}. Use larger chunks, so that the steps of one chunk become one task."
            )
    return warnings


def of_graph(
    tasks: int, guessed: Sequence[Key], neutral_bytes: int, across: Mapping[str, int], settings: Settings
) -> list[str]:
    """Return warnings about the number of tasks, bytes across, tasks without a home, and unknown sizes."""
    warnings = []
    if tasks > MAX_TASKS:
        warnings.append(
            f"{tasks:,} tasks are more than the {MAX_TASKS:,} that one submission may have. Split the work into "
            "partitions."
        )
    for pair, n in sorted(across.items()):
        src, dst = pair.split("->")
        if n > MUCH_BYTES:
            remedy = "Write them" if dst == settings.client_region else "First reduce or regrid them"
            warnings.append(f"{format_bytes(n)} will cross from {src} to {dst}. {remedy} in {src}.")
    if neutral_bytes > MUCH_BYTES:
        warnings.append(
            f"{format_bytes(neutral_bytes)} are computed by tasks without a home, which may run in any Region. Choose "
            "their home with placement.pin."
        )
    if guessed:
        warnings.append(
            f"The result sizes of {counted(len(guessed), 'task')} are unknown and were guessed from the inputs, for "
            f"example that of {str(guessed[0])!r}."
        )
    return warnings
