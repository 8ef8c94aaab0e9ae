"""The rules of placement, as pure functions that the scheduler plugin and the plan share.

Belongs here: which Region a task is bound to, given what is known of its graph. Does not belong here: Dask's state, or
what a graph is made of (homes).
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
    """What was decided for one task: homes of its data, and the Region it is bound to (None: late or neutral)."""

    homes: Homes
    region: str | None
    late: bool = False


@dataclass(frozen=True, slots=True)
class TaskNode:
    """One task as the rules see it: what its own spec says, its neighbours, and the Region chosen for it, if any."""

    reads: Homes
    pins: Homes
    dependencies: Collection[Key]
    users: Collection[Key]
    chosen: str | None = None


def is_barrier(key: Key) -> bool:
    """Whether a key is that of a P2P shuffle's barrier."""
    return isinstance(key, str) and key.startswith(_BARRIER)


def decide(
    nodes: Mapping[Key, TaskNode],
    wanted: Collection[Key],
    known: Callable[[Key], Home | None] = lambda key: None,
) -> dict[Key, Home]:
    """Home of every task.

    Parameters
    ----------
    nodes
        New tasks in topological order.
    wanted
        Keys of the results. A result is bound by its own data alone, never drawn to the Region of a task that uses it.
    known
        What was decided before, for neighbours that are not among ``nodes``.

    Returns
    -------
    What was chosen for a whole graph holds. Else a task whose inputs with a home are all in one Region is bound there; if
    they are in several it is late; with none it goes to the Region of its users if they are all of one, else it is neutral.
    What only pinned tasks need is bound to their Region in any case.
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
            # P2P chooses its output workers when it starts: the Region of what comes out of it, else that with most inputs.
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
    shared: dict[Home, Home] = {}  # there are many tasks, and few kinds
    kinds = ((key, homes[key], bound.get(key)) for key in nodes)
    return {
        key: shared.setdefault(home := Home(among, region, late=region is None and bool(among)), home)
        for key, among, region in kinds
    }


def cheapest(
    inputs: Iterable[tuple[int, Collection[str]]], price: Price, among: Collection[str] | None = None
) -> str | None:
    """Region to which the inputs of a task cost least to ship; None if no input is anywhere.

    Parameters
    ----------
    inputs
        ``(bytes, Regions that hold them)`` of each input.
    price
        What a byte costs from one Region to another.
    among
        Regions to choose from, None for all that hold an input: an input may be where no pool is.

    Of Regions that cost the same, the first by name.
    """
    held = [(nbytes, regions) for nbytes, regions in inputs if regions]

    def cost(dst: str) -> float:
        # Bytes of one price are added up first: equal sums are equal then, whatever the order of the inputs.
        by_price: Counter[float] = Counter()
        for nbytes, regions in held:
            if dst not in regions:
                by_price[min(price(src, dst) for src in regions)] += nbytes
        return fsum(each * nbytes for each, nbytes in by_price.items())

    holders = {region for _, regions in held for region in regions}
    candidates = sorted(holders if among is None else holders & set(among) or among) if holders else []
    return min(candidates, key=lambda dst: (cost(dst), dst), default=None)


def topological(needs: Mapping[Key, Collection[Key]], users: Mapping[Key, Collection[Key]]) -> list[Key]:
    """Keys in an order in which each comes after those it needs; neighbours that are not keys of ``needs`` do not count."""
    waiting = {key: sum(d in needs for d in needed) for key, needed in needs.items()}
    ready = [key for key, count in waiting.items() if not count]
    for key in ready:  # grows while it is walked
        for user in users[key]:
            if user in waiting:
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
    return ready
