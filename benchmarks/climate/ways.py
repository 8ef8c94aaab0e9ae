"""The ways to the sum of a month: ours on a pool, netCDF4 and xarray on plain Dask, and decompression alone.

Belongs here: the ways. Does not belong here: the months (month), clocks (meter), which are compared (__main__).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from uuid import uuid4

import dask
import dask.array as da
import deflate
import numpy as np
import xarray as xr
from distributed import Client, LocalCluster

from benchmarks.climate.month import REGION, VARIABLE, Month, entries_of
from xdask_pipelines.access import open_entries, written_lazily
from xdask_pipelines.climate import month_partial
from xdask_pipelines.placement import compute, local_regions

#: Returns the digest of the sum over time.
Run = Callable[[], str]


def digest(total: np.ndarray) -> str:
    """Return a digest of a field's float64 values."""
    return hashlib.blake2b(np.ascontiguousarray(total, dtype="f8").tobytes(), digest_size=8).hexdigest()


@contextmanager
def ours(
    months: list[Month], data: Path, results: Path, processes: int, *, numba: bool
) -> Iterator[tuple[Client, Run, Run]]:
    """Start a pool as ``xdask pools up`` does; yield a run that returns the partial, and one that writes it at home."""
    os.environ["NUMBA_DISABLE_JIT"] = "0" if numba else "1"  # workers inherit it
    with local_regions([REGION], processes, 1, data={REGION: data}, results={REGION: results}) as client:
        entries = entries_of(client, data, months)

        def partial() -> xr.Dataset:
            return month_partial(open_entries(entries, [VARIABLE])[VARIABLE])

        def computed() -> str:
            (result,), _ = compute(client, partial())
            return digest(result["sum"].values)

        def written() -> str:
            key = f"results/bench/{uuid4().hex}"
            (done,), _ = compute(client, written_lazily(partial(), REGION, key))
            with xr.open_zarr(results / done.key, chunks=None, decode_times=False) as stored:
                return digest(stored["sum"].values)

        yield client, computed, written


@contextmanager
def slabs(months: list[Month], processes: int) -> Iterator[tuple[Client, Run]]:
    """Start plain Dask; yield a run of xarray with netCDF4 in slabs of 24 hours. Pools refuse such reads."""
    with (
        LocalCluster(processes, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
        dask.config.set(array_optimize=da.optimization.optimize),
    ):

        def run() -> str:
            parts = [xr.open_dataset(m.path, engine="netcdf4", chunks={"time0": 24})[VARIABLE] for m in months]
            field = xr.concat(parts, "time0", join="exact") if len(parts) > 1 else parts[0]
            return digest(client.compute(field.sum("time0", skipna=False, dtype="f8")).result().values)

        yield client, run


def decompression(month: Month) -> tuple[float, float]:
    """Return the CPU seconds in this process of inflating all chunks of a month, and of undoing their shuffle too."""
    _, chunks, shape = month.stored
    nbytes = 4 * int(np.prod(shape))
    raw = month.path.read_bytes()
    values = np.empty((nbytes // 4, 4), np.uint8)
    spent = []
    for unshuffle in (False, True):
        before = process_time()
        for offset, size in chunks:
            planes = np.frombuffer(deflate.zlib_decompress(raw[offset : offset + size], nbytes), np.uint8)
            if unshuffle:
                for i, plane in enumerate(planes.reshape(4, -1)):
                    values[:, i] = plane
        spent.append(process_time() - before)
    return spent[0], spent[1]
