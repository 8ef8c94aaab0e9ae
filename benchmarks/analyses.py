"""Analyses made from a seed: correlations, regressions, spreads, products of matrices, anomalies, masks, broadcasts.

Belongs here: expressions over several Regions, and the least that they must move. Does not belong here: judging placement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import dask.array as da
import numpy as np

from benchmarks.wan.smallest_cut import smallest_cut
from xdask_pipelines.placement import pin
from xdask_pipelines.placement.settings import WAITING_USD_PER_SECOND, Link, Settings

REGIONS = ("us-east-1", "us-west-2", "eu-central-1", "ap-south-1", "eu-north-1")
CLIENT = "eu-west-2"
_USD = 0.02e-9


def settings(*, even: bool) -> Settings:
    """A client Region and prices: all alike, or between one and five times the least."""
    random = np.random.default_rng(2)
    links = {
        f"{a}->{b}": Link(usd_per_byte=_USD * (1 if even else float(random.uniform(1, 5))), bytes_per_second=1e12)
        for a, b in permutations([*REGIONS, CLIENT], 2)
    }
    return Settings(client_region=CLIENT, links=links)


class Analysis:
    """One expression over three to five Regions.

    Parameters
    ----------
    seed
        Decides everything.
    regions
        Regions to choose from.

    Attributes
    ----------
    lazy
        The expression.
    """

    def __init__(self, seed: int, regions: Sequence[str] = REGIONS) -> None:
        self.random = np.random.default_rng(seed)
        few = int(self.random.integers(3, len(regions) + 1))
        self.regions = [str(r) for r in self.random.choice(regions, few, replace=False)]
        self.homes: dict[str, str] = {}
        self.times, self.cells = int(self.random.integers(3, 9)), int(self.random.choice([2_000, 8_000, 20_000]))
        fields = [self.field(region) for region in self.regions]
        for _ in range(int(self.random.integers(1, 5))):
            fields.append(self.step(fields))
        self.lazy = self.joined(fields)

    def least(self, known: Settings) -> float:
        """The smallest cut among the Regions that hold any of its data, by price, in bytes at the lowest price."""
        layers = set(self.lazy.__dask_graph__().layers)
        held = sorted({region for name, region in self.homes.items() if name in layers})
        return smallest_cut(self.lazy, self.homes, (*held, CLIENT), CLIENT, lambda a, b: price(known, a, b))

    # ---- parts ------------------------------------------------------------------------------------------------------

    def field(self, region: str) -> da.Array:
        """Times and cells, made in a Region."""
        seed, dtype = int(self.random.integers(10**6)), str(self.random.choice(["f4", "f8"]))
        shape = (self.times, int(self.cells * self.random.choice([1, 1, 1, 3])) if not self.homes else self.cells)
        self.cells = shape[1]

        def make(block_info: Any = None) -> np.ndarray:
            location = block_info[None]["array-location"]
            rng = np.random.default_rng([seed, *(start for start, _ in location)])
            return (rng.integers(0, 320, [stop - start for start, stop in location]) / 32).astype(dtype)

        chunks = da.core.normalize_chunks((-(-shape[0] // int(self.random.integers(1, 4))), -1), shape)
        made = pin(da.map_blocks(make, chunks=chunks, dtype=dtype, meta=np.empty((0, 0), dtype)), region)
        self.homes[made.name] = region
        return made

    def step(self, fields: list[da.Array]) -> da.Array:
        """Another field, made of one or two of several."""
        a, b = (fields[int(i)] for i in self.random.integers(0, len(fields), 2))
        makers: list[Callable[[], da.Array]] = [
            lambda: a - a.mean(axis=0),
            lambda: a.astype("f8") ** 2 + b,
            lambda: da.where(b > 3, a, np.nan),
            lambda: a - b,
            lambda: (a - a.mean(axis=0)) * (b - b.mean(axis=0)),
            lambda: a - (b - b.mean(axis=0)).mean(axis=1)[:, None],
            lambda: a * np.cos(np.linspace(-1, 1, self.cells)),
            lambda: a * da.from_array(np.linspace(0, 1, self.times * self.cells).reshape(self.times, self.cells)),
            lambda: da.stack([a, b]).mean(axis=0),
        ]
        return makers[int(self.random.integers(len(makers)))]()

    def joined(self, fields: list[da.Array]) -> da.Array:
        """The result."""
        few = fields[-min(len(fields), 4) :]
        a, b = fields[-1], fields[int(self.random.integers(0, len(fields) - 1))]
        enders: list[Callable[[], da.Array]] = [
            lambda: correlation(a, b),
            lambda: correlation(a, b) ** 2 + b.mean(axis=0),
            lambda: ((a - a.mean(axis=0)) * b).sum(axis=0) / (b**2).sum(axis=0),
            lambda: da.stack(few).std(axis=0).mean(axis=1),
            lambda: da.stack(few).var(axis=0, dtype="f8"),
            lambda: da.stack(few).mean(axis=0),
            lambda: da.concatenate(few).mean(axis=0),
            lambda: da.nanmean(da.stack(few), axis=0).max(axis=0),
            lambda: a @ b.T,
            lambda: (a - a.mean(axis=0)) - (b - b.mean(axis=0)),
            lambda: da.sqrt(((a - b) ** 2).mean(axis=0)),
            lambda: sum(x.mean(axis=0) for x in few) / len(few),
        ]
        return da.asarray(enders[int(self.random.integers(len(enders)))]())


def price(known: Settings, src: str, dst: str) -> float:
    """Cost of a byte between two Regions, about 1 for the least."""
    return known.price(src, dst) / (_USD + WAITING_USD_PER_SECOND / 1e12)


def correlation(a: da.Array, b: da.Array) -> da.Array:
    """Pearson's, over the first axis."""
    x, y = a - a.mean(axis=0), b - b.mean(axis=0)
    return (x * y).mean(axis=0) / (a.std(axis=0) * b.std(axis=0))
