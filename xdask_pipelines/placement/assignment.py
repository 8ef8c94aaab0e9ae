"""In which Region the blocks of each layer are computed, decided for a whole graph before it is optimised.

Belongs here: from layers, sizes and homes to a multiway cut, and back to blocks. Does not belong here: solving it
(multiway_cut), homes of blocks (layer_homes), fusion (fence), what sizes cannot tell (late binding, decide).

Where several arrays that need data of several Regions depend on each other, binding each by itself lets fields cross again
and again: a correlation map shipped 2.6 times the least. Blocks of a layer with the same homes are decided together. Data
go to the client in the end, which computes nothing; without that, a graph would have no reason to be anywhere.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.typing import Key
from distributed import Future

from xdask_pipelines.placement.homes import PIN, mark_of
from xdask_pipelines.placement.layer_homes import Held, LayerHomes, Masks
from xdask_pipelines.placement.multiway_cut import Net, least_cut
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.placement.sizes import Sizes

#: Blocks of a layer that have the same homes: name of the layer, mask of their homes.
Kind = tuple[str, int]
_MAX_REGIONS = 62
_UNDECIDED = -1


@dataclass(frozen=True)
class Assignment:
    """Where blocks are computed.

    Attributes
    ----------
    regions
        Regions by number.
    chosen
        By layer and homes, the number of the Region; -1 where that is decided when inputs are in memory.
    homes
        Homes of blocks.
    """

    regions: Sequence[str]
    chosen: Mapping[Kind, int]
    homes: LayerHomes
    graph: HighLevelGraph

    def region(self, key: Key) -> str | None:
        """Region in which a block is computed that has not simply one home, there; None for all others."""
        if not self.is_block(key):
            return None
        mask = self.homes.of_block(key)
        region = self.chosen.get((_layer(key), mask), _UNDECIDED)
        return None if region == _UNDECIDED or mask == 1 << region else self.regions[region]

    def is_block(self, key: Key) -> bool:
        """Whether a key is that of a layer's block, and not of a helper inside a layer."""
        return _layer(key) in self.homes.masks

    def labels(self) -> dict[str, str]:
        """By layer: layers with one label may be fused, block by block."""
        users: defaultdict[str, list[str]] = defaultdict(list)
        for name, parents in self.graph.dependencies.items():
            for parent in parents:
                users[parent].append(name)
        found: dict[str, str] = {}
        for name in reversed(list(self.homes.masks)):
            masks = self.homes.masks[name]
            if isinstance(masks, np.ndarray):
                codes = np.vectorize(lambda m, name=name: self._code(name, int(m)), otypes=[np.int64])(masks)
                found[name] = f"{codes.shape}{hashlib.blake2b(codes.tobytes(), digest_size=8).hexdigest()}"
            elif masks == 0 and len(around := {found[u] for u in users[name]}) == 1:
                found[name] = around.pop()
            else:
                found[name] = str(self._code(name, masks))
        return found

    def _code(self, name: str, mask: int) -> int:
        """Number of the Region and whether the data have that home alone; homes where nothing is decided."""
        region = self.chosen.get((name, mask), _UNDECIDED)
        return -mask - 1 if region == _UNDECIDED else 2 * region + (mask not in (0, 1 << region))


def assign(
    graph: HighLevelGraph, wanted: Collection[Key], settings: Settings, held: Held = lambda key: None
) -> Assignment | None:
    """Assign the blocks of a graph to Regions so that moving data costs least.

    Parameters
    ----------
    graph
        Before optimisation.
    wanted
        Keys of results, which go to the client.
    settings
        Client Region and prices.
    held
        Region in which the data of a key are that an earlier computation made; None if nobody knows.

    Returns
    -------
    None for a graph of fewer than two Regions, where there is nothing to decide.
    """
    regions = _regions(graph, held)
    if not 1 < len(regions) <= _MAX_REGIONS:
        return None
    homes = LayerHomes(graph, regions, held)
    network = _Network(graph, homes, wanted, Sizes([graph]))
    return Assignment(regions, network.solve(regions, settings), homes, graph)


def _regions(graph: HighLevelGraph, held: Held) -> list[str]:
    found = {mark[1] for name in graph.layers if (mark := mark_of(name))}
    for layer in graph.layers.values():
        if _is_held(layer):
            found |= {region for key in layer if (region := held(key))}
    return sorted(found)


def _is_held(layer: Layer) -> bool:
    """Whether blocks of a layer are results of an earlier computation."""
    return isinstance(layer, MaterializedLayer) and isinstance(next(iter(layer.mapping.values()), None), Future)


class _Network:
    """Kinds of blocks as nodes, what they make for each other as nets."""

    def __init__(self, graph: HighLevelGraph, homes: LayerHomes, wanted: Collection[Key], sizes: Sizes) -> None:
        self.graph, self.homes, self.sizes = graph, homes, sizes
        self.wanted = set(map(_layer, wanted))
        self.numbers: dict[Kind, int] = {}
        self.guessed: set[int] = set()
        self.nbytes: dict[int, float] = {}
        self.users: defaultdict[str, list[str]] = defaultdict(list)
        for name in homes.masks:
            for parent in graph.dependencies.get(name, ()):
                self.users[parent].append(name)
        for name, masks in homes.masks.items():
            for mask in _distinct(masks):
                self.numbers[name, mask] = len(self.numbers)
        for name in homes.masks:
            self._measure(name)

    def _measure(self, name: str) -> None:
        """Bytes of each kind of a layer's blocks; those of its inputs where nothing tells."""
        masks = self.homes.masks[name]
        blocks = self.sizes.blocks(name)
        for mask in _distinct(masks):
            node = self.numbers[name, mask]
            if blocks is not None and (isinstance(masks, int) or masks.shape == blocks.shape):
                self.nbytes[node] = float(blocks.sum() if isinstance(masks, int) else blocks[masks == mask].sum())
                continue
            self.guessed.add(node)
            parents = [p for p in self.graph.dependencies.get(name, ()) if p in self.homes.masks]
            kinds = [self.numbers[p, m] for p in parents for m in _distinct(self.homes.masks[p]) if m & mask == m]
            self.nbytes[node] = sum(self.nbytes[k] for k in kinds)

    def solve(self, regions: Sequence[str], settings: Settings) -> dict[Kind, int]:
        """Number of the Region of each kind."""
        names = [*regions, *([] if settings.client_region in regions else [settings.client_region])]
        price = np.array([[settings.price(a, b) for b in names] for a in names])
        client = len(self.numbers)
        nets = self._nets(client)
        fixed = {**self._fixed(nets), client: names.index(settings.client_region)}
        found = least_cut(client + 1, fixed, nets, price)
        reached = self._reached(nets)
        # Where data of several Regions meet, some of unknown size, their real sizes decide.
        unsure = {user for net in nets if net.source in self.guessed for user in net.users}
        return {
            (name, mask): _UNDECIDED if node not in reached or (node in unsure and mask & (mask - 1)) else found[node]
            for (name, mask), node in self.numbers.items()
        }

    def _nets(self, client: int) -> list[Net]:
        nets = []
        for (name, mask), node in self.numbers.items():
            common = {client} if name in self.wanted else set()
            for user in self.users[name]:
                if user not in self.homes.mixing:
                    own = self.homes.masks[user]
                    common |= {self.numbers[user, m] for m in _distinct(own) if m & mask == mask or _is_pinned(user)}
            taken: defaultdict[frozenset[int], float] = defaultdict(float)
            rest = self.nbytes[node]
            if uses := self.homes.uses.get(name):
                blocks, masks = self.sizes.blocks(name), self.homes.masks[name]
                for block, kinds in uses.items():
                    alike = isinstance(masks, int) or len(block) != masks.ndim or int(masks[block]) == mask
                    if not alike:
                        continue
                    users = frozenset(self.numbers[kind] for kind in kinds if kind in self.numbers)
                    size = (
                        float(blocks[block]) if blocks is not None and len(block) == blocks.ndim else rest / len(uses)
                    )
                    taken[users | common] += size
                    rest -= size
            if common and rest > 0:
                taken[frozenset(common)] += rest
            nets += [Net(node, tuple(sorted(users - {node})), n) for users, n in taken.items() if users - {node}]
        return nets

    def _fixed(self, nets: Sequence[Net]) -> dict[int, int]:
        """What reads, is pinned or held already stays; so do results of one home, and what only pinned data need."""
        fixed: dict[int, int] = {}
        after: defaultdict[int, set[int]] = defaultdict(set)
        for net in nets:
            after[net.source] |= set(net.users)
        pinned: dict[int, int] = {}
        for (name, mask), node in reversed(self.numbers.items()):
            mark = mark_of(name)
            single = mask.bit_length() - 1 if mask and mask & (mask - 1) == 0 else None
            needed = {pinned.get(user) for user in after[node]}
            if single is not None and (
                mark or name in self.wanted or node in self.guessed or _is_held(self.graph.layers[name])
            ):
                fixed[node] = single
                if mark and mark[0] == PIN:
                    pinned[node] = single
            elif single is None and len(needed) == 1 and (region := needed.pop()) is not None:
                fixed[node] = pinned[node] = region
            elif single is not None and after[node] and all(fixed.get(user) == single for user in after[node]):
                fixed[node] = single
        return fixed

    def _reached(self, nets: Sequence[Net]) -> set[int]:
        """What has to do with data of any Region: the rest may run anywhere."""
        around: defaultdict[int, set[int]] = defaultdict(set)
        for net in nets:
            for user in net.users:
                around[user].add(net.source)
        stack = [node for (_, mask), node in self.numbers.items() if mask]
        reached = set(stack)
        while stack:
            for source in around[stack.pop()] - reached:
                reached.add(source)
                stack.append(source)
        return reached


def _layer(key: Key) -> str:
    return str(key[0] if isinstance(key, tuple) and key else key)


def _distinct(masks: Masks) -> list[int]:
    return [masks] if isinstance(masks, int) else [int(m) for m in np.unique(masks)]


def _is_pinned(name: str) -> bool:
    mark = mark_of(name)
    return mark is not None and mark[0] == PIN
