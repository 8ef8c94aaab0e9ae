"""Assignment of the blocks of each layer to Regions, for a whole graph before it is optimised.

Belongs here: building a multiway cut from layers, sizes and homes, and applying its solution to blocks. Does not belong
here: solving the cut (multiway_cut), homes of blocks (layer_homes), fusion (fence), decisions that need sizes known
only at run time (late binding, placement_rules).

If several dependent arrays need data of several Regions, binding each of them separately sends fields across more than
once: a correlation map sent 2.6 times the minimum. Blocks of a layer with the same homes are therefore decided
together. The results go to the client, which computes nothing; the cut includes this transfer, because otherwise all
choices would cost the same.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from dask.typing import Key

from xdask_pipelines.placement.dask_internals.graph_layers import HighLevelGraph
from xdask_pipelines.placement.graph.block_pieces import Kind
from xdask_pipelines.placement.graph.cut_network import UNDECIDED, Network, is_held
from xdask_pipelines.placement.graph.homes import mark_of
from xdask_pipelines.placement.graph.layer_homes import Held, LayerHomes
from xdask_pipelines.placement.graph.needed import is_block_of, layer_of
from xdask_pipelines.placement.graph.sizes import Sizes
from xdask_pipelines.placement.settings import Settings

_MAX_REGIONS = 62


@dataclass(frozen=True)
class Assignment:
    """The Regions in which blocks are computed.

    Attributes
    ----------
    regions
        Names of the Regions; their position is their number.
    chosen
        Number of the Region, by kind of block (layer and homes); -1 if it is decided when the inputs are in memory.
    homes
        Homes of blocks.
    pieces
        Kinds of the tasks that cut blocks into pieces, by key.
    """

    regions: Sequence[str]
    chosen: Mapping[Kind, int]
    homes: LayerHomes
    pieces: Mapping[Key, Kind]
    graph: HighLevelGraph

    def region(self, key: Key) -> str | None:
        """Return the Region that was chosen for a block; None if nothing was chosen, or if its only home was."""
        if not self.covers(key):
            return None
        kind = self.pieces.get(key) or Kind(layer_of(key), self.homes.of_block(key))
        region = self.chosen.get(kind, UNDECIDED)
        return None if region == UNDECIDED or kind.mask == 1 << region else self.regions[region]

    def covers(self, key: Key) -> bool:
        """Return whether the assignment covers a task: a block or a piece of one, but no other helper task."""
        return key in self.pieces or (is_block_of(key, name := layer_of(key)) and name in self.homes.masks)

    def labels(self) -> dict[str, str]:
        """Return the label of each layer. Layers with the same label may be fused block by block."""
        users: defaultdict[str, list[str]] = defaultdict(list)
        for name, parents in self.graph.dependencies.items():
            for parent in parents:
                users[parent].append(name)
        labels: dict[str, str] = {}
        for name in reversed(list(self.homes.masks)):
            masks = self.homes.masks[name]
            if isinstance(masks, np.ndarray):
                codes = np.vectorize(lambda m, name=name: self._code(name, int(m)), otypes=[np.int64])(masks)
                labels[name] = f"{codes.shape}{hashlib.blake2b(codes.tobytes(), digest_size=8).hexdigest()}"
            elif masks == 0 and len(around := {labels[u] for u in users[name]}) == 1:
                labels[name] = around.pop()
            else:
                labels[name] = str(self._code(name, masks))
        return labels

    def _code(self, name: str, mask: int) -> int:
        """Encode a decision: the Region and whether it is the only home of the data, or the homes if nothing is decided."""
        region = self.chosen.get(Kind(name, mask), UNDECIDED)
        return -mask - 1 if region == UNDECIDED else 2 * region + (mask not in (0, 1 << region))


def assign(
    graph: HighLevelGraph, wanted: Collection[Key], settings: Settings, held: Held = lambda key: None
) -> Assignment | None:
    """Assign the blocks of a graph to Regions so that moving data costs least.

    Parameters
    ----------
    graph
        The graph before optimisation.
    wanted
        Keys of the results, which go to the client.
    settings
        Client Region and prices.
    held
        Returns the Region that holds the result of an earlier computation, by key; None if it is unknown.

    Returns
    -------
    The assignment; None for a graph with fewer than two Regions, where nothing has to be decided.
    """
    regions = _regions(graph, held)
    if not 1 < len(regions) <= _MAX_REGIONS:
        return None
    homes = LayerHomes(graph, regions, held)
    network = Network(graph, homes, wanted, Sizes([graph]))
    names = [*regions, *([] if settings.client_region in regions else [settings.client_region])]
    return Assignment(names, network.solve(names, settings), homes, network.pieces.kind, graph)


def _regions(graph: HighLevelGraph, held: Held) -> list[str]:
    regions = {mark[1] for name in graph.layers if (mark := mark_of(name))}
    for layer in graph.layers.values():
        if is_held(layer):
            regions |= {region for key in layer if (region := held(key))}
    return sorted(regions)
