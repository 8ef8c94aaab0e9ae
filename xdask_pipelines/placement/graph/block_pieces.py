"""Inputs of layers that mix Regions task by task: whole blocks of other layers, or pieces of blocks.

Belongs here: the users of blocks and of pieces, and the sizes of pieces. Does not belong here: homes of tasks
(layer_homes), choosing Regions (assignment).

A rechunk, or a selection of points, cuts blocks into pieces before it joins them. Pieces with the same home are decided
together, so that blocks are cut in their home Region if that sends fewer bytes across.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from dask.typing import Key

from xdask_pipelines.placement.graph.layer_homes import LayerHomes
from xdask_pipelines.placement.graph.needed import Needed, is_block_of
from xdask_pipelines.placement.graph.placement_rules import topological


class Kind(NamedTuple):
    """Blocks of a layer with the same homes, which are given as a bit mask; or pieces that are cut in that layer."""

    layer: str
    mask: int
    pieces: bool = False


class Pieces:
    """Users of blocks of other layers in layers that mix Regions task by task.

    Attributes
    ----------
    users
        Kinds that use each block: ``{layer: {index of the block: kinds}}``.
    made
        Bytes of the pieces of a kind, by the kinds that use them.
    kind
        Kind of each piece, by key.
    """

    def __init__(self, homes: LayerHomes, needed: Needed, nbytes: Callable[[Key], float]) -> None:
        self.users: defaultdict[str, defaultdict[tuple[int, ...], set[Kind]]] = defaultdict(lambda: defaultdict(set))
        self.made: defaultdict[Kind, defaultdict[frozenset[Kind], float]] = defaultdict(lambda: defaultdict(float))
        self.kind: dict[Key, Kind] = {}
        for name, needs in homes.mixing.items():
            wanted = needed.tasks(name)
            self._add(name, {k: d for k, d in needs.items() if k in wanted}, homes.tasks[name], nbytes)

    def of_layer(self, name: str) -> list[Kind]:
        """Return the kinds of the pieces that a layer cuts."""
        return sorted({kind for kind in self.made if kind.layer == name})

    def _add(
        self,
        name: str,
        needs: Mapping[Key, Collection[Key]],
        masks: Mapping[Key, int],
        nbytes: Callable[[Key], float],
    ) -> None:
        after: dict[Key, list[Key]] = {key: [] for key in needs}
        cut: defaultdict[Key, int] = defaultdict(int)
        for key, needed in needs.items():
            whole = is_block_of(key, name)
            mask = masks[key]
            if not whole and mask and mask & (mask - 1) == 0:
                self.kind[key] = Kind(name, mask, pieces=True)
            for d in needed:
                if d in after:
                    after[d].append(key)
                elif key in self.kind:
                    cut[d] += 1
        order = topological(needs, after)
        kinds: dict[Key, frozenset[Kind]] = {}
        for key in reversed(order):
            if is_block_of(key, name):
                kinds[key] = frozenset([Kind(name, masks[key])])
            elif key in self.kind:
                kinds[key] = frozenset([self.kind[key]])
            else:  # other helper tasks run where their users run
                kinds[key] = frozenset[Kind]().union(*(kinds[user] for user in after[key]))
            for d in needs[key]:
                if d not in after:
                    block = d if isinstance(d, tuple) else (d,)
                    self.users[str(block[0])][block[1:]] |= kinds[key]  # type: ignore[index]
        size: dict[Key, float] = {}
        for key in order:
            if (kind := self.kind.get(key)) is None:
                continue
            size[key] = sum(
                size.get(d, 0.0) / max(1, len(after[d])) if d in after else nbytes(d) / cut[d] for d in needs[key]
            )
            users = frozenset[Kind]().union(*(kinds[user] for user in after[key])) - {kind}
            self.made[kind][users] += size[key]
