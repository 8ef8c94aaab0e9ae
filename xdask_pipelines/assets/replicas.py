"""Where an analysis reads data that several Regions hold: so that least is shipped.

Belongs here: choosing Regions, and saying so. Does not belong here: which entries are replicas (catalog).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from xdask_pipelines.catalog import Entry
from xdask_pipelines.errors import AmbiguousEntries
from xdask_pipelines.topology import Topology


@dataclass(frozen=True)
class Choice:
    """Regions from the cheapest to the dearest, and a sentence for each dataset that several Regions hold."""

    near: tuple[str, ...]
    said: tuple[str, ...] = ()

    def of(self, replicas: Sequence[Entry]) -> Entry:
        """The replica that is read.

        Raises
        ------
        AmbiguousEntries
            None of them lies in a Region of the topology.
        """
        if len(replicas) == 1:
            return replicas[0]
        held = {entry.region: entry for entry in replicas}
        for region in self.near:
            if region in held:
                return held[region]
        raise AmbiguousEntries(
            f"{replicas[0]} is held in {' and '.join(held)}, none of which is a Region of regions.yaml. Forget the "
            "dataset there (`xdask catalog forget`), or add one of the Regions",
            candidates=tuple(map(str, replicas)),
        )


def choose(
    topology: Topology,
    sources: Mapping[str, Collection[Sequence[Entry]]],
    inputs: Iterable[Entry] = (),
    unread: Collection[str] = (),
) -> Choice:
    """Order of Regions in which a job ships least.

    For every Region in which some input lies, as if all were to meet there: each source is read in the Region from which
    shipping it there costs least, and stored bytes count. The cheapest meeting is taken, by price, then by time on the
    links, then by name. So if all can be read in one Region, they are.

    Parameters
    ----------
    topology
        Gives prices and links.
    sources
        By parameter, the replicas of each entry that the job reads.
    inputs
        Upstream results that the job also reads, with their Regions.
    unread
        Parameters of which nothing but coordinates is used, which the catalog holds.
    """
    groups = [(name, group) for name, all_of_it in sources.items() for group in all_of_it]
    groups += [("", (entry,)) for entry in {(e.region, e.key): e for e in inputs}.values()]  # parts share a store
    if all(len(group) == 1 for _, group in groups):
        return Choice(topology.regions)
    meetings = {entry.region for _, group in groups for entry in group} & set(topology.regions)

    def cost(meeting: str) -> tuple[float, float, str]:
        choice = Choice(from_cheapest(topology, meeting))
        usd = seconds = 0.0
        for name, group in groups:
            entry = choice.of(group)
            if entry.region != meeting and name not in unread and entry.region in topology.regions:
                link = topology.link(entry.region, meeting)
                usd += entry.size_bytes * topology.price(entry.region, meeting)
                seconds += link.rtt_ms / 1000 + entry.size_bytes * 8 / (link.mbit * 1e6)
        return usd, seconds, meeting

    near = from_cheapest(topology, min(meetings, key=cost) if meetings else topology.client.region)
    return Choice(near, _said(Choice(near), groups))


def from_cheapest(topology: Topology, meeting: str) -> tuple[str, ...]:
    """All Regions by what shipping a byte from them costs, then by the link; the meeting's own first."""

    def cost(region: str) -> tuple[float, float, float, str]:
        link = topology.link(region, meeting)
        return topology.price(region, meeting), 1 / link.mbit, link.rtt_ms, region

    others = (region for region in topology.regions if region != meeting)
    return meeting, *sorted(others, key=cost)


def _said(choice: Choice, groups: Iterable[tuple[str, Sequence[Entry]]]) -> tuple[str, ...]:
    held: dict[str, set[str]] = {}
    read: dict[str, set[str]] = {}
    fixed: dict[str, set[str]] = {}
    for _, group in groups:
        entry = choice.of(group)
        if len(group) == 1:
            fixed.setdefault(entry.region, set()).add(entry.dataset)
        else:
            held.setdefault(entry.dataset, set()).update(e.region for e in group)
            read.setdefault(entry.dataset, set()).add(entry.region)
    sentences = []
    for dataset, regions in sorted(held.items()):
        beside = sorted(set().union(*(fixed.get(r, set()) for r in read[dataset])) - {dataset})
        where = f", where {_and(beside)} {'is' if len(beside) == 1 else 'are'}" if beside else ""
        sentences.append(f"{dataset} is held in {_and(sorted(regions))}; read in {_and(sorted(read[dataset]))}{where}")
    return tuple(sentences)


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
