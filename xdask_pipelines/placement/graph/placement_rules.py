"""The rules of placement, as pure functions for the scheduler plugin and the plan.

Belongs here: deciding to which Region a task is bound. Does not belong here: Dask's state (plugin), reading homes from
a graph (homes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from math import fsum

from dask.typing import Key

from xdask_pipelines.placement.graph.homes import NOWHERE, Homes, carried, combine

#: ``price(src, dst)``: cost of one byte, any unit; 0 within a Region.
Price = Callable[[str, str], float]
_BARRIER = "shuffle-barrier"


@dataclass(frozen=True, slots=True)
class Home:
    """The decision for one task: homes of its data, and the Region to which it is bound (None: late or neutral)."""

    homes: Homes
    region: str | None
    late: bool = False


@dataclass(frozen=True, slots=True)
class TaskNode:
    """One task as the rules see it: its own reads and pins, its neighbours, and the Region chosen for it, if any."""

    reads: Homes
    pins: Homes
    dependencies: Collection[Key]
    users: Collection[Key]
    chosen: str | None = None


def is_barrier(key: Key) -> bool:
    """Return whether a key is the barrier of a P2P shuffle."""
    return isinstance(key, str) and key.startswith(_BARRIER)


def decide(
    nodes: Mapping[Key, TaskNode],
    wanted: Collection[Key],
    known: Callable[[Key], Home | None] = lambda key: None,
) -> dict[Key, Home]:
    """Decide the home of every task.

    Parameters
    ----------
    nodes
        New tasks in topological order.
    wanted
        Keys of the results. A result is bound by its own data alone, never by the Region of a task that uses it.
    known
        Returns the earlier decision for a neighbour that is not among ``nodes``.

    Returns
    -------
    The home of each task. A Region that the assignment chose for the whole graph is used. Otherwise a task is bound to
    the Region of its inputs if all of them have the same home; it is late if their homes differ. A task whose inputs
    have no home is bound to the Region of its users if that is the same for all, else it is neutral. A task that only
    pinned tasks need is always bound to their Region.
    """
    homes: dict[Key, Homes] = {}
    bound: dict[Key, str] = {}
    pinned: dict[Key, str] = {}

    def homes_of(key: Key) -> Homes:
        if key in homes:
            return carried(key, homes[key])
        before = known(key)
        return carried(key, before.homes) if before else NOWHERE

    def region_of(key: Key) -> str | None:
        before = known(key)
        return before.region if before else None

    for key, node in nodes.items():
        own = node.reads | node.pins
        homes[key] = combine(node.reads, node.pins, map(homes_of, node.dependencies))
        if node.pins:
            pinned[key] = min(node.pins)
        if own:
            bound[key] = min(own)
        elif node.chosen:
            bound[key] = node.chosen
        elif homes[key] and is_barrier(key):
            # P2P chooses its output workers when it starts: they are in the Region of its users, else in the Region of
            # most inputs.
            chosen = {nodes[user].chosen for user in node.users if user in nodes}
            counts = Counter(r for d in node.dependencies for r in homes_of(d))
            most = min(counts, key=lambda region: (-counts[region], region))
            bound[key] = chosen.pop() or most if len(chosen) == 1 else most
        else:
            places = {bound.get(d) or region_of(d) for d in node.dependencies if homes_of(d)}
            if len(places) == 1 and (place := places.pop()):
                bound[key] = place
    for key in reversed(list(nodes)):
        users = nodes[key].users
        if key in bound or not users or key in wanted:
            continue
        followed = {bound.get(u) or region_of(u) for u in users}
        region = followed.pop() if len(followed) == 1 else None
        forced = all(pinned.get(u) == region for u in users)
        if region and (not homes[key] or forced):
            bound[key] = region
            if forced:
                pinned[key] = region
    shared: dict[Home, Home] = {}  # many tasks have equal homes
    kinds = ((key, homes[key], bound.get(key)) for key in nodes)
    return {
        key: shared.setdefault(home := Home(among, region, late=region is None and bool(among)), home)
        for key, among, region in kinds
    }


def cheapest(
    inputs: Iterable[tuple[int, Collection[str]]], price: Price, among: Collection[str] | None = None
) -> str | None:
    """Return the Region to which sending the inputs of a task costs least; None if no Region holds an input.

    Parameters
    ----------
    inputs
        ``(bytes, Regions that hold it)`` of each input.
    price
        Cost of a byte from one Region to another.
    among
        Regions to choose from; None for all that hold an input. Needed because an input may be in a Region without a
        pool.

    If several Regions cost the same, the first by name is returned.
    """
    held = [(nbytes, regions) for nbytes, regions in inputs if regions]

    def cost(dst: str) -> float:
        # Bytes of one price are added first, so that rounding does not depend on the order of the inputs.
        by_price: Counter[float] = Counter()
        for nbytes, regions in held:
            if dst not in regions:
                by_price[min(price(src, dst) for src in regions)] += nbytes
        return fsum(each * nbytes for each, nbytes in by_price.items())

    holders = {region for _, regions in held for region in regions}
    candidates = sorted(holders if among is None else holders & set(among) or among) if holders else []
    return min(candidates, key=lambda dst: (cost(dst), dst), default=None)


def topological(needs: Mapping[Key, Collection[Key]], users: Mapping[Key, Collection[Key]]) -> list[Key]:
    """Sort keys so that each comes after those it needs; neighbours that are not keys of ``needs`` are ignored."""
    waiting = {key: sum(d in needs for d in needed) for key, needed in needs.items()}
    ready = [key for key, count in waiting.items() if not count]
    for key in ready:  # the list grows during the loop
        for user in users[key]:
            if user in waiting:
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
    return ready
