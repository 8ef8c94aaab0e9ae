"""Which tasks run where their result is needed, because it is larger than what it is made of.

A regrid to a finer grid, a broadcast: what only such a result is needed for joins it with data of another Region. Then the
smaller side crosses, and the result is made over there.

Belongs here: the choice, from the sizes of results. Does not belong here: fusion (fence), late binding (decide).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf

from dask.typing import Key

from xdask_pipelines.placement.homes import Homes

#: Bytes of a task's result, None if nothing tells.
Size = Callable[[Key], int | None]


def moved(
    order: Sequence[Key],
    needs: Mapping[Key, Collection[Key]],
    users: Mapping[Key, Collection[Key]],
    homes: Mapping[Key, Homes],
    fixed: Collection[Key],
    size: Size,
) -> dict[Key, str]:
    """Tasks that should run away from the home of their data, with the Region where they should.

    Parameters
    ----------
    order
        Keys in topological order.
    needs, users
        Neighbours of each task.
    homes
        Homes among each task's ancestors.
    fixed
        Keys of tasks that read or are pinned, and of results: they stay.
    size
        Bytes of results; where it tells nothing, nothing is cut.
    """
    free = _free(order, users, homes, frozenset(fixed))
    groups: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in order:
        if key in free:
            groups[free[key]].append(key)
    choices: list[tuple[float, list[Key], str, set[Key]]] = []
    for (home, other), keys in groups.items():
        steps = _steps_to_users(keys, users, free)
        here = {k for k in keys if any(free.get(u) != (home, other) for u in users[k])}
        joins = {u for k in here for u in users[k] if u not in free}
        over_there = {n for u in joins for n in needs[u] if homes.get(n) == frozenset([other])}
        now = min(_bytes(here, size), _bytes(over_there, size))  # else late binding ships those
        best, chosen = now, 0
        for far in range(1, max(steps.values()) + 1):
            across = {n for k in keys if steps[k] <= far for n in needs[k] if steps.get(n, inf) > far}
            if (cost := _bytes(across, size)) < best:
                best, chosen = cost, far
        if chosen:
            choices.append((now - best, [k for k in keys if steps[k] <= chosen], other, joins))
    found: dict[Key, str] = {}
    taken: set[Key] = set()
    for _, keys, other, joins in sorted(choices, key=lambda c: (-c[0], c[2])):
        if not taken & joins:  # of two sides that both grow, the one that saves more
            found |= dict.fromkeys(keys, other)
            taken |= joins
    return found


def _free(
    order: Sequence[Key], users: Mapping[Key, Collection[Key]], homes: Mapping[Key, Homes], fixed: frozenset[Key]
) -> dict[Key, tuple[str, str]]:
    """Tasks of one home that are needed for nothing but joins with one other Region: ``(home, other)``."""
    free: dict[Key, tuple[str, str]] = {}
    for key in reversed(order):
        if key in fixed or len(homes[key]) != 1 or not users[key]:
            continue
        (home,) = homes[key]
        others = {_other(user, home, homes, free) for user in users[key]}
        if len(others) == 1 and (other := others.pop()) is not None:
            free[key] = (home, other)
    return free


def _other(user: Key, home: str, homes: Mapping[Key, Homes], free: Mapping[Key, tuple[str, str]]) -> str | None:
    if user in free:
        return free[user][1]
    return min(homes[user] - {home}) if len(homes[user]) == 2 else None


def _steps_to_users(
    keys: Sequence[Key], users: Mapping[Key, Collection[Key]], free: Mapping[Key, tuple[str, str]]
) -> dict[Key, int]:
    """How many steps before the join each task is, by the longest way; at least 1."""
    steps: dict[Key, int] = {}
    for key in reversed(keys):
        steps[key] = 1 + max((steps[u] for u in users[key] if u in steps), default=0)
    return steps


def _bytes(keys: Collection[Key], size: Size) -> float:
    known = [size(key) for key in keys]
    return inf if None in known else float(sum(n for n in known if n is not None))
