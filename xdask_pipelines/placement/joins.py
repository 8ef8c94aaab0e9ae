"""Which joins of data of several Regions become one task: each join by itself costs two ways over the WAN.

``(a + b) + c`` over three Regions: apart, the sum of two is made somewhere, told of, and then sent on; as one task, all
three meet at once.

Belongs here: whether one join is no dearer than two, from the sizes of what meets. Does not belong here: fusion (fence).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from dask.typing import Key

from xdask_pipelines.placement.homes import Homes
from xdask_pipelines.placement.smaller_side import Size


def one_join(
    first: Collection[Key], result: Key, second: Collection[Key], homes: Mapping[Key, Homes], size: Size
) -> bool:
    """Whether joining all at once moves no more bytes than one join after the other.

    Parameters
    ----------
    first
        Inputs of the first join.
    result
        Its key, which is an input of the second.
    second
        The other inputs of the second join. One that is itself joined from several Regions may end up in any: then
        nobody can tell.
    homes
        Homes among each task's ancestors.
    size
        Bytes of results; where it tells nothing, joins stay apart.
    """
    inputs = {*first, *second}
    if size(result) is None or any(len(homes.get(key, "??")) > 1 or size(key) is None for key in inputs):
        return False
    place, before = _cheapest(_held(first, homes, size))
    after = _held(second, homes, size)
    after[place] += size(result) or 0
    return _cheapest(_held(inputs, homes, size))[1] <= before + _cheapest(after)[1]


def _held(keys: Collection[Key], homes: Mapping[Key, Homes], size: Size) -> Counter[str]:
    """Bytes by Region; what has no home is nowhere yet, and costs nothing."""
    held: Counter[str] = Counter()
    for key in keys:
        for region in homes[key]:
            held[region] += size(key) or 0
    return held


def _cheapest(held: Counter[str]) -> tuple[str, int]:
    """Region to which least must be shipped, and the bytes that are."""
    place = min(held, key=lambda region: (-held[region], region))
    return place, held.total() - held[place]
