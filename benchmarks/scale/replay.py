"""Measured tasks on other pools: simulated seconds of a phase, of a run, and of ten years in batches.

Belongs here: cutting and timing of recorded phases. Does not belong here: recording them, the simulation of tasks and
links (placement.prediction.forecast).
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dask.typing import Key

from benchmarks.scale.recording import Phase, prefix
from xdask_pipelines.placement.prediction.forecast import Step, forecast
from xdask_pipelines.placement.settings import Settings


@dataclass(frozen=True)
class Run:
    """One asset's run.

    Attributes
    ----------
    seconds
        On the wall.
    phases
        The computations of the run: the result, then its checks.
    """

    seconds: float
    phases: Sequence[Phase]

    @property
    def outside(self) -> float:
        """Return the seconds in which the pools had no work: Dagster, the catalog, graphs, pictures."""
        return self.seconds - sum(phase.seconds for phase in self.phases)


def pooled(settings: Settings, processes: int, *, one_machine: bool) -> Settings:
    """Return settings with pools of so many processes with one thread, on this machine or behind the topology's links."""
    pools = {region: replace(rates, threads=processes) for region, rates in settings.pools.items()}
    return replace(settings, pools=pools, one_machine=one_machine)


def simulated(phase: Phase, settings: Settings) -> float:
    """Return the seconds of a phase on other pools, from the measured times of its tasks."""
    return forecast(phase.steps, list(phase.steps), phase.wanted, settings).seconds


def run_seconds(run: Run, settings: Settings) -> float:
    """Return the seconds of a run on other pools; what happens outside of them takes as long as it was measured."""
    return run.outside + sum(simulated(phase, settings) for phase in run.phases)


def reads(phase: Phase, months: int) -> dict[str, list[Key]]:
    """Return the tasks without inputs that a phase has for each month, by prefix, in the order of the record."""
    roots: defaultdict[str, list[Key]] = defaultdict(list)
    for key, step in phase.steps.items():
        if not step.needs:
            roots[prefix(key)].append(key)
    return {name: keys for name, keys in roots.items() if len(keys) == months}


def _connected(phase: Phase) -> list[list[Key]]:
    """Return the parts of a graph that share no task, in the order of the record."""
    part: dict[Key, list[Key]] = {}
    for key, step in phase.steps.items():
        joined = [key]
        for old in {id(part[d]): part[d] for d in step.needs}.values():
            joined += old
        part.update(dict.fromkeys(joined, joined))
    return list({id(each): each for each in part.values()}.values())


def _month_of(phase: Phase, months: int) -> dict[Key, int]:
    """Return the numbers of the months of tasks from which those of all others follow.

    Raises
    ------
    ValueError
        If the graph has neither one read a month nor one separate part a month.
    """
    if roots := reads(phase, months):
        return {key: i for keys in roots.values() for i, key in enumerate(keys)}
    alike: defaultdict[tuple[tuple[str, int], ...], list[list[Key]]] = defaultdict(list)
    for keys in _connected(phase):
        alike[tuple(sorted(Counter(map(prefix, keys)).items()))].append(keys)
    if counts := [len(parts) for parts in alike.values() if len(parts) != months]:
        raise ValueError(f"a phase has no tasks of {months} single months: there are {counts} separate parts of a kind")
    return {key: i for parts in alike.values() for i, keys in enumerate(parts) for key in keys}


def cut(phase: Phase, months: int, kept: int) -> Phase:
    """Return a phase of some of its months: without the tasks of the others, and what follows from those alone.

    Parameters
    ----------
    phase
        A phase of `months` months.
    kept
        How many months remain, from 1 to `months`.

    Raises
    ------
    ValueError
        If the phase has no tasks of single months, or there are not as many months.
    """
    if not 1 <= kept <= months:
        raise ValueError(f"a phase of {months} months has no {kept} months")
    of = {key: {i} for key, i in _month_of(phase, months).items()}
    for key, step in phase.steps.items():  # each is after its inputs
        of.setdefault(key, set()).update(*(of.get(d, ()) for d in step.needs))
    dropped = {key for key, i in of.items() if i and min(i) >= kept}
    steps = {
        key: replace(step, needs=[d for d in step.needs if d not in dropped])
        for key, step in phase.steps.items()
        if key not in dropped
    }
    return Phase(steps, phase.wanted - dropped, phase.seconds)


def with_read_seconds(phase: Phase, months: int, seconds: float) -> Phase:
    """Return a phase whose reads of single months take another time."""
    longer = {key for keys in reads(phase, months).values() for key in keys}
    steps: Mapping[Key, Step] = {
        key: replace(step, seconds=seconds) if key in longer else step for key, step in phase.steps.items()
    }
    return replace(phase, steps=steps)


def read_seconds(phases: Sequence[Phase]) -> float:
    """Return the median time of the read of a month, from phases of one month each: their longest task without inputs."""
    return statistics.median(
        max(step.thread_seconds for step in phase.steps.values() if not step.needs) for phase in phases
    )


@dataclass(frozen=True)
class MonthCost:
    """What months cost outside of the pools: seconds of each run, and of each month in it."""

    run: float
    month: float

    @classmethod
    def between(cls, one: Run, many: Run, months: int) -> MonthCost:
        """Return the cost from a run of one month and a run of many."""
        month = max(0.0, (many.outside - one.outside) / (months - 1))
        return cls(one.outside - month, month)

    def seconds(self, months: int) -> float:
        """Return the seconds of one run of some months."""
        return self.run + self.month * months


def decade_seconds(
    many: Run, months: int, read: float, cost: MonthCost, settings: Settings, batch: int
) -> tuple[float, float]:
    """Return the seconds of all months as batches one after the other, and how many of them the pools have work.

    Parameters
    ----------
    many
        A recorded run of all months: the result, then its checks.
    months
        How many these are.
    read
        Seconds of the read of a whole month.
    cost
        Seconds outside of the pools.
    settings
        The pools.
    batch
        Months of one run.
    """
    result, *checks = many.phases
    phases = [with_read_seconds(result, months, read), *checks]
    known: dict[int, float] = {}
    working = outside = 0.0
    for start in range(0, months, batch):
        kept = min(batch, months - start)
        if kept not in known:
            known[kept] = sum(simulated(cut(phase, months, kept), settings) for phase in phases)
        working += known[kept]
        outside += cost.seconds(kept)
    return working + outside, working
