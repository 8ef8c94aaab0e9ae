"""The network of a multiway cut: kinds of blocks are its nodes, and the data that they pass to each other its nets.

Belongs here: building nodes and nets from layers, sizes, homes and needed blocks. Does not belong here: solving the cut
(multiway_cut).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from dask.typing import Key
from distributed import Future

from xdask_pipelines.placement.dask_internals.graph_layers import HighLevelGraph, Layer, MaterializedLayer
from xdask_pipelines.placement.graph.block_pieces import Kind, Pieces
from xdask_pipelines.placement.graph.homes import PIN, mark_of
from xdask_pipelines.placement.graph.layer_homes import LayerHomes
from xdask_pipelines.placement.graph.multiway_cut import Net, least_cut
from xdask_pipelines.placement.graph.needed import Needed, layer_of
from xdask_pipelines.placement.graph.sizes import Sizes
from xdask_pipelines.placement.settings import Settings

#: Number for a kind whose Region is decided when its inputs are in memory.
UNDECIDED = -1
#: Total size of results up to which a pool in the client's Region may join them: their parts then cross the WAN in
#: parallel. Larger results would need memory in the pool and on the client.
JOINED_BYTES = 10_000_000
#: Factor on the cost of pieces. It makes a block cross once and whole if all of it must cross.
_PIECEWISE = 1.001


class Network:
    """Kinds of blocks as nodes, and the data that they pass to each other as nets."""

    def __init__(self, graph: HighLevelGraph, homes: LayerHomes, wanted: Collection[Key], sizes: Sizes) -> None:
        self.graph, self.homes = graph, homes
        self.wanted = set(map(layer_of, wanted))
        self.numbers: dict[Kind, int] = {}
        self.guessed: set[int] = set()
        self.nbytes: dict[int, float] = {}
        self.users: defaultdict[str, list[str]] = defaultdict(list)
        for name in homes.masks:
            for parent in graph.dependencies.get(name, ()):
                self.users[parent].append(name)
        needed = Needed(graph, wanted)
        self.blocks = {name: _needed_bytes(sizes.blocks(name), name, needed) for name in homes.masks}
        self.pieces = Pieces(homes, needed, self._bytes_of_block)
        for name in homes.masks:
            for kind in (*self.pieces.of_layer(name), *self._kinds(name)):
                self.numbers[kind] = len(self.numbers)
                self._measure(kind)

    def _kinds(self, name: str) -> list[Kind]:
        masks = self.homes.masks[name]
        return [Kind(name, m) for m in ([masks] if isinstance(masks, int) else np.unique(masks).tolist())]

    def _bytes_of_block(self, key: Key) -> float:
        """Return the bytes of one block; 0 if unknown."""
        blocks, index = self.blocks.get(layer_of(key)), key[1:] if isinstance(key, tuple) else ()
        return float(blocks[index]) if blocks is not None and len(index) == blocks.ndim else 0.0  # type: ignore[index]

    def _measure(self, kind: Kind) -> None:
        """Add up the bytes of the needed blocks of one kind; if they are unknown, take the bytes of its inputs."""
        node, masks, blocks = self.numbers[kind], self.homes.masks[kind.layer], self.blocks[kind.layer]
        if not kind.pieces and blocks is not None and (isinstance(masks, int) or masks.shape == blocks.shape):
            self.nbytes[node] = float(blocks.sum() if isinstance(masks, int) else blocks[masks == kind.mask].sum())
            return
        parents = [
            k for p in self.graph.dependencies.get(kind.layer, ()) if p in self.homes.masks for k in self._kinds(p)
        ]
        inputs = [self.numbers[k] for k in parents if k.mask & kind.mask == k.mask]
        self.nbytes[node] = sum(self.nbytes[k] for k in inputs)
        if not kind.pieces or not self.guessed.isdisjoint(inputs):
            self.guessed.add(node)

    def solve(self, names: Sequence[str], settings: Settings) -> dict[Kind, int]:
        """Return the number of the Region of each kind; ``names`` are all Regions, including the client's."""
        price = np.array([[settings.price(a, b) for b in names] for a in names])
        client = len(self.numbers)
        nets = self._nets(client)
        fixed = {**self._fixed(nets), client: names.index(settings.client_region)}
        first = [fixed[client]] if self._client_joins(settings) else []
        solution = least_cut(client + 1, fixed, nets, price, first)
        reached = self._reached(nets)
        # Where data of several Regions meet and some sizes are unknown, the decision waits for the real sizes.
        unsure = {user for net in nets if net.source in self.guessed for user in net.users}
        return {
            kind: UNDECIDED
            if node not in reached or (node in unsure and kind.mask & (kind.mask - 1))
            else solution[node]
            for kind, node in self.numbers.items()
        }

    def _client_joins(self, settings: Settings) -> bool:
        """Return whether the client's Region may compute: it has a pool, and the results are small."""
        results = [node for kind, node in self.numbers.items() if kind.layer in self.wanted and not kind.pieces]
        known = self.guessed.isdisjoint(results) and sum(self.nbytes[node] for node in results) <= JOINED_BYTES
        return settings.client_pool and known

    def _nets(self, client: int) -> list[Net]:
        nets = []
        for kind, node in self.numbers.items():
            made = self._pieces_made(kind) if kind.pieces else self._blocks_made(kind, node, client)
            nets += [Net(node, tuple(sorted(users - {node})), n) for users, n in made.items() if users - {node}]
        return nets

    def _pieces_made(self, kind: Kind) -> dict[frozenset[int], float]:
        """Return the bytes of pieces by the nodes that join them, limited to the bytes of these nodes."""
        made: defaultdict[frozenset[int], float] = defaultdict(float)
        for users, nbytes in self.pieces.made[kind].items():
            nodes = frozenset(self.numbers[k] for k in users if k in self.numbers)
            made[nodes] += min(nbytes, sum(self.nbytes[node] for node in nodes)) * _PIECEWISE
        return made

    def _blocks_made(self, kind: Kind, node: int, client: int) -> Mapping[frozenset[int], float]:
        """Return the bytes of blocks by the nodes that use them."""
        name, mask, _ = kind
        common = {client} if name in self.wanted else set()
        for user in self.users[name]:
            if user not in self.homes.mixing:
                common |= {self.numbers[k] for k in self._kinds(user) if k.mask & mask == mask or _is_pinned(user)}
        made: defaultdict[frozenset[int], float] = defaultdict(float)
        rest = self.nbytes[node]
        if uses := self.pieces.users.get(name):
            blocks, masks = self.blocks[name], self.homes.masks[name]
            for block, kinds in uses.items():
                if not isinstance(masks, int) and len(block) == masks.ndim and int(masks[block]) != mask:
                    continue
                users = frozenset(self.numbers[k] for k in kinds if k in self.numbers)
                size = float(blocks[block]) if blocks is not None and len(block) == blocks.ndim else rest / len(uses)
                made[users | common] += size
                rest -= size
        if common and rest > 0:
            made[frozenset(common)] += rest
        return made

    def _fixed(self, nets: Sequence[Net]) -> dict[int, int]:
        """Return the Regions of nodes that cannot move.

        These are reads, pinned and held data, results with one home, and nodes that only pinned data need.
        """
        fixed: dict[int, int] = {}
        after: defaultdict[int, set[int]] = defaultdict(set)
        for net in nets:
            after[net.source] |= set(net.users)
        pinned: dict[int, int] = {}
        for (name, mask, pieces), node in reversed(self.numbers.items()):
            mark = None if pieces else mark_of(name)
            single = mask.bit_length() - 1 if mask and mask & (mask - 1) == 0 else None
            needed = {pinned.get(user) for user in after[node]}
            result = not pieces and (name in self.wanted or is_held(self.graph.layers[name]))
            if single is not None and (mark or result or node in self.guessed):
                fixed[node] = single
                if mark and mark[0] == PIN:
                    pinned[node] = single
            elif single is None and len(needed) == 1 and (region := needed.pop()) is not None:
                fixed[node] = pinned[node] = region
        return fixed

    def _reached(self, nets: Sequence[Net]) -> set[int]:
        """Return the nodes that depend on, or are inputs of, data of a Region; all others may run anywhere."""
        around: defaultdict[int, set[int]] = defaultdict(set)
        for net in nets:
            for user in net.users:
                around[user].add(net.source)
        stack = [node for kind, node in self.numbers.items() if kind.mask]
        reached = set(stack)
        while stack:
            for source in around[stack.pop()] - reached:
                reached.add(source)
                stack.append(source)
        return reached


def is_held(layer: Layer) -> bool:
    """Return whether the blocks of a layer are results of an earlier computation."""
    return isinstance(layer, MaterializedLayer) and isinstance(next(iter(layer.mapping.values()), None), Future)


def _needed_bytes(blocks: np.ndarray | None, name: str, needed: Needed) -> np.ndarray | None:
    if blocks is None or (wanted := needed.blocks(name, blocks.shape)) is None:
        return blocks
    return np.where(wanted, blocks, 0.0)


def _is_pinned(name: str) -> bool:
    mark = mark_of(name)
    return mark is not None and mark[0] == PIN
