"""In which Region the blocks of each layer are computed, decided for a whole graph before it is optimised.

Belongs here: from layers, sizes and homes to a multiway cut, and back to blocks. Does not belong here: solving it
(multiway_cut), homes of blocks (layer_homes), fusion (fence), what sizes cannot tell (late binding, placement_rules).

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
    """Where blocks are computed.

    Attributes
    ----------
    regions
        Regions by number.
    chosen
        By layer and homes, the number of the Region; -1 where that is decided when inputs are in memory.
    homes
        Homes of blocks.
    pieces
        Kinds of tasks that cut blocks to pieces, by key.
    """

    regions: Sequence[str]
    chosen: Mapping[Kind, int]
    homes: LayerHomes
    pieces: Mapping[Key, Kind]
    graph: HighLevelGraph

    def region(self, key: Key) -> str | None:
        """Region in which a block is computed that has not simply one home, there; None for all others."""
        if not self.tells(key):
            return None
        kind = self.pieces.get(key) or Kind(layer_of(key), self.homes.of_block(key))
        region = self.chosen.get(kind, UNDECIDED)
        return None if region == UNDECIDED or kind.mask == 1 << region else self.regions[region]

    def tells(self, key: Key) -> bool:
        """Whether anything is said of a task: of blocks and of pieces of them, not of other helpers inside a layer."""
        return key in self.pieces or (is_block_of(key, name := layer_of(key)) and name in self.homes.masks)

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
        region = self.chosen.get(Kind(name, mask), UNDECIDED)
        return -mask - 1 if region == UNDECIDED else 2 * region + (mask not in (0, 1 << region))


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
    network = Network(graph, homes, wanted, Sizes([graph]))
    names = [*regions, *([] if settings.client_region in regions else [settings.client_region])]
    return Assignment(names, network.solve(names, settings), homes, network.pieces.kind, graph)


def _regions(graph: HighLevelGraph, held: Held) -> list[str]:
    found = {mark[1] for name in graph.layers if (mark := mark_of(name))}
    for layer in graph.layers.values():
        if is_held(layer):
            found |= {region for key in layer if (region := held(key))}
    return sorted(found)
