"""Measured tasks on other pools: simulated seconds of a phase, of a run, and of ten years in batches.

Belongs here: cutting and timing of recorded phases. Does not belong here: recording them, the simulation of tasks and
links (placement.prediction.forecast).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dask.typing import Key

from benchmarks.scale.recording import Phase, prefix
from xdask_pipelines.placement.prediction.forecast import SUBMIT_SECONDS, Step, forecast
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
    """Return the seconds of a phase on other pools, from the measured times of its tasks and of its submission."""
    expected = forecast(phase.steps, list(phase.steps), phase.wanted, settings).seconds
    return expected - SUBMIT_SECONDS + phase.lead


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
    return replace(phase, steps=steps, wanted=phase.wanted - dropped)


def with_reads(phase: Phase, months: int, seconds: Sequence[float]) -> Phase:
    """Return a phase in which the read of each month is divided into tasks that take the given times.

    Parameters
    ----------
    phase
        A phase with one read a month.
    months
        How many months these are.
    seconds
        Thread-seconds of each task of a month. They share the bytes of the read's result.
    """
    divided = {key for keys in reads(phase, months).values() for key in keys}
    steps: dict[Key, Step] = {}
    for key, step in phase.steps.items():
        if key in divided:
            for i, each in enumerate(seconds):
                steps[_piece(key, i)] = replace(step, nbytes=step.nbytes // len(seconds), seconds=each)
        else:
            needs = [_piece(d, i) for d in step.needs if d in divided for i in range(len(seconds))]
            steps[key] = replace(step, needs=[*needs, *(d for d in step.needs if d not in divided)])
    return replace(phase, steps=steps)


def _piece(key: Key, i: int) -> Key:
    return (f"{prefix(key)}-piece", str(key), i)


def read_seconds(runs: Sequence[Run]) -> list[float]:
    """Return the thread-seconds of the tasks that read a whole month, from runs of that month: those of the median run."""
    found = []
    for run in runs:
        roots = {key: step for key, step in run.phases[0].steps.items() if not step.needs}
        longest = max(roots, key=lambda key: roots[key].thread_seconds)
        found.append([step.thread_seconds for key, step in roots.items() if prefix(key) == prefix(longest)])
    return sorted(found, key=sum)[len(found) // 2]


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
    many: Run, months: int, read: Sequence[float], cost: MonthCost, settings: Settings, batch: int
) -> tuple[float, float]:
    """Return the seconds of all months as batches one after the other, and how many of them the pools have work.

    Parameters
    ----------
    many
        A recorded run of all months: the result, then its checks.
    months
        How many these are.
    read
        Thread-seconds of the tasks that read a whole month.
    cost
        Seconds outside of the pools.
    settings
        The pools.
    batch
        Months of one run.
    """
    known: dict[int, float] = {}
    working = outside = 0.0
    for start in range(0, months, batch):
        kept = min(batch, months - start)
        if kept not in known:
            result, *checks = (_part(phase, months, kept) for phase in many.phases)
            known[kept] = sum(simulated(phase, settings) for phase in (with_reads(result, kept, read), *checks))
        working += known[kept]
        outside += cost.seconds(kept)
    return working + outside, working


def _part(phase: Phase, months: int, kept: int) -> Phase:
    """Return a phase of some of its months; submitting it takes its share of the time."""
    return replace(cut(phase, months, kept), lead=phase.lead * kept / months)
