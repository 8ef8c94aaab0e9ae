"""From how many instances each pool should have to what must be done: a function without clock, network or machines.

Belongs here: the rule. Does not belong here: how many there should be (placement.scaling), how an action is carried out
(pool_backends), the loop (pool_controller).

An *instance* is what is started and stopped as one: a machine, a Slurm job or an ECS task, with several worker processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Instance:
    """One instance of a pool, as its backend and the scheduler see it.

    Attributes
    ----------
    region, name
        Pool, and name in the pool.
    state
        ``starting`` until its workers have joined the scheduler, ``running``, ``draining`` once it was asked to hand over
        what it holds, ``drained`` when it has, ``lost`` if its process has ended or its workers have left.
    since
        Time at which the state began, in seconds of any clock.
    held_bytes
        Results in the memory of its workers.
    """

    region: str
    name: str
    state: Literal["starting", "running", "draining", "drained", "lost"]
    since: float
    held_bytes: int = 0


@dataclass(frozen=True)
class Start:
    """Start new instances of a pool."""

    region: str
    count: int


@dataclass(frozen=True)
class Protect:
    """Keep these instances, and no others of the pool, from being chosen when its count falls; it comes before `Drain`."""

    region: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Drain:
    """Let an instance hand over what it holds to the others of its pool."""

    region: str
    name: str


@dataclass(frozen=True)
class Stop:
    """End an instance that holds nothing that is needed, and lower the count of its pool."""

    region: str
    name: str
    reason: str


Action = Start | Protect | Drain | Stop


def reconcile(
    desired: Mapping[str, int], observed: Iterable[Instance], now: float, start_seconds: float
) -> list[Action]:
    """Return what brings pools from what is observed to what is desired.

    Parameters
    ----------
    desired
        Number of instances by Region; a Region that is not named should have none.
    observed
        All instances.
    now
        Time, on the clock of ``Instance.since``.
    start_seconds
        How long an instance may take to start.

    Returns
    -------
    Actions in the order in which they are safe: what is done with is stopped, what stays is protected before anything is
    drained, and an instance that drains is never counted as one that a pool has. Carrying them out twice does no harm:
    the next observation shows what was begun.
    """
    pools: dict[str, list[Instance]] = {region: [] for region in sorted(desired)}
    for instance in sorted(observed, key=lambda each: each.name):
        pools.setdefault(instance.region, []).append(instance)
    return [
        action
        for region, instances in pools.items()
        for action in _of_pool(region, desired.get(region, 0), instances, now, start_seconds)
    ]


def _of_pool(region: str, wanted: int, instances: list[Instance], now: float, start_seconds: float) -> list[Action]:
    actions: list[Action] = []
    running, starting = [], []
    for each in instances:
        if each.state == "lost":
            actions.append(Stop(region, each.name, "its workers are gone"))
        elif each.state == "drained":
            actions.append(Stop(region, each.name, "drained"))
        elif each.state == "starting" and now - each.since > start_seconds:
            actions.append(Stop(region, each.name, f"no worker joined within {start_seconds:g} s"))
        elif each.state == "starting":
            starting.append(each)
        elif each.state == "running":
            running.append(each)
    surplus = len(running) + len(starting) - wanted
    if surplus < 0:
        actions.append(Start(region, -surplus))
        return actions
    unneeded = sorted(starting, key=lambda each: -each.since)[:surplus]  # the newest have done least towards starting
    actions += [Stop(region, each.name, "not needed any more") for each in unneeded]
    leaving = sorted(running, key=lambda each: (each.held_bytes, each.name))[: surplus - len(unneeded)]
    if leaving:
        actions.append(Protect(region, tuple(each.name for each in running if each not in leaving)))
        actions += [Drain(region, each.name) for each in leaving]
    return actions
