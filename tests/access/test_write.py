"""Results are written by their home pool, whole or not at all, and read back as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client

from tests.support.access_helpers import Entry
from tests.support.machines import machine
from tests.support.places import EAST, WEST, Cluster
from xdask_pipelines.access import Written, open_entries, written_lazily
from xdask_pipelines.access.header import select_steps
from xdask_pipelines.access.write import open_here, write_here
from xdask_pipelines.errors import AccessError
from xdask_pipelines.placement import compute, local_regions, pin
from xdask_pipelines.placement.settings import Settings

FIELD = np.random.default_rng(6).integers(0, 320, (12, 18, 20)) / 32


def result(region: str | None = EAST, values: np.ndarray = FIELD, chunks: Any = (4, 18, 20)) -> xr.Dataset:
    data: Any = values if region is None else pin(da.from_array(values, chunks=chunks, inline_array=True), region)
    times = xr.date_range("2011-01-01", periods=len(values), freq="h", use_cftime=True, calendar="360_day")
    coords = {"time": times, "lat": np.linspace(80, -80, 18), "lon": np.linspace(0, 340, 20), "height": 2.0}
    return xr.Dataset(
        {
            "t": (("time", "lat", "lon"), data, {"units": "K", "_odd": np.float32(2.5)}),
            "n": (("lat", "lon"), pin(da.ones((18, 20), dtype="i8"), region) if region else np.ones((18, 20), "i8")),
        },
        coords,
        {"title": "made for a test", "missing": np.nan},
    )


def entry(written: Written, region: str) -> Entry:
    return Entry(region, written.key, "zarr3", written.etag, written.size_bytes, written.modified_ns, written.header)


def write(client: Client, dataset: xr.Dataset, region: str, key: str) -> Written:
    (written,), _ = compute(client, written_lazily(dataset, region, key))
    assert isinstance(written, Written)
    return written


@pytest.mark.parametrize("chunks", [(4, 18, 20), (5, 7, 20), -1, ((1, 6, 5), 18, 20)])
def test_a_result_is_written_by_its_pool_and_read_back_as_it_was(cluster: Cluster, chunks: Any) -> None:
    key = f"results/a/{chunks}.zarr".replace(" ", "")
    lazy = written_lazily(result(chunks=chunks), EAST, key)
    with cluster.recorder.recording() as recording:
        (written,), evidence = compute(cluster.client, lazy)
    assert evidence.tasks_by_region == {**recording.tasks}
    assert set(recording.ran) == set(recording.opened) == {EAST}
    assert not cluster.recorder.strays(recording)
    store = cluster.results[EAST] / key
    assert written.size_bytes == sum(f.stat().st_size for f in store.rglob("*") if f.is_file())
    (back,), read = compute(cluster.client, open_entries([entry(written, EAST)]))
    assert read.bytes_read_by_region[EAST] <= written.size_bytes
    xr.testing.assert_equal(back, result(None))
    assert back.t.attrs == {"units": "K", "_odd": 2.5}
    assert back.attrs["title"] == "made for a test"
    assert back.indexes["time"].calendar == "360_day"  # type: ignore[attr-defined]
    times = xr.coders.CFDatetimeCoder(use_cftime=True)
    with xr.open_zarr(store, chunks=None, consolidated=False, decode_times=times) as plainly:
        xr.testing.assert_equal(plainly.load(), result(None))


def test_bytes_do_not_cross_when_a_result_is_written_at_home(cluster: Cluster) -> None:
    _, evidence = compute(cluster.client, written_lazily(result(), EAST, "results/a/home.zarr"))
    assert sum(evidence.bytes_across.values()) < 20_000  # what tells of the finished store, and no field


def test_data_in_memory_is_written_too(cluster: Cluster) -> None:
    written = write(cluster.client, result(None), WEST, "results/a/memory.zarr")
    (back,), _ = compute(cluster.client, open_entries([entry(written, WEST)]))
    xr.testing.assert_equal(back, result(None))


def test_equal_results_have_equal_digests_and_other_ones_do_not(cluster: Cluster) -> None:
    etags = [
        write(cluster.client, result(values=values), EAST, f"results/a/etag{i}.zarr").etag
        for i, values in enumerate((FIELD, FIELD, FIELD + 1 / 32))
    ]
    assert etags[0] == etags[1] != etags[2]


def test_a_store_that_exists_is_never_changed(cluster: Cluster) -> None:
    key = "results/a/once.zarr"
    written = write(cluster.client, result(), EAST, key)
    with pytest.raises(AccessError, match=r"once.zarr cannot be created: the store already exists.*start a new run"):
        write(cluster.client, result(values=FIELD + 1), EAST, key)
    (back,), _ = compute(cluster.client, open_entries([entry(written, EAST)]))
    xr.testing.assert_equal(back, result(None))


def test_what_is_no_number_is_refused_before_anything_is_written(cluster: Cluster) -> None:
    words = xr.Dataset({"t": ("x", np.array(["a", "b"], dtype=object))})
    with pytest.raises(AccessError, match="'t' has dtype object"):
        written_lazily(words, EAST, "results/a/words.zarr")


def test_a_task_that_fails_leaves_no_finished_store(cluster: Cluster) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise ValueError("cannot be computed")

    broken = result()
    broken["t"] = broken.t.copy(data=broken.t.data.map_blocks(fail, dtype=float, meta=np.empty((0, 0, 0))))
    with pytest.raises(ValueError, match="cannot be computed"):
        write(cluster.client, broken, EAST, "results/a/failed.zarr")
    # Without a digest and a catalog entry nobody takes what is there for a result.
    assert not (cluster.results[EAST] / "results/a/failed.zarr/t/c").exists()


# ---- machines that hold only their own ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """Two Regions whose workers see their own folders only."""
    top = tmp_path_factory.mktemp("machines")
    for region in (EAST, WEST):
        for name in ("data", "results/results/full", "results/results/fixed"):
            (top / region / name).mkdir(parents=True)
        xr.Dataset({"t": (("lat", "lon"), FIELD[0] * (1 if region == EAST else 2))}, _GRID).to_netcdf(
            top / region / "data/t.nc", engine="netcdf4", encoding={"t": {"zlib": True, "chunksizes": (9, 10)}}
        )

    def prefix(region: str) -> list[str]:
        own = top / region / "results/results"
        return machine(
            hidden=[top / r for r in (EAST, WEST) if r != region], full=[own / "full"], fixed=[own / "fixed"]
        )

    with local_regions(
        [EAST, WEST],
        data={r: top / r / "data" for r in (EAST, WEST)},
        results={r: top / r / "results" for r in (EAST, WEST)},
        settings=Settings(client_region="eu-west-2"),
        prefix=prefix,
    ) as client:
        yield client, top


_GRID = {"lat": np.linspace(80, -80, 18), "lon": np.linspace(0, 340, 20)}
_SCIENTIST = """
import json, os, sys
from pathlib import Path
from tests.support.access_helpers import described
from distributed import Client
from tests.access.test_write import EAST, WEST, entry
from xdask_pipelines.access import open_entries, written_lazily
from xdask_pipelines.placement import compute

address, top = sys.argv[1], Path(sys.argv[2])
seen = [name for region in (EAST, WEST) for name in os.listdir(top / region)]
with Client(address) as client:
    fields = {r: open_entries(described(client, r, "t.nc")) for r in (EAST, WEST)}
    (written,), wrote = compute(client, written_lazily(fields[WEST] * 3, WEST, "results/three.zarr"))
    (difference,), evidence = compute(client, open_entries([entry(written, WEST)]).t - fields[EAST].t)
    hostile = [list(client.run(os.listdir, str(top / r)).values()) for r in (EAST, WEST)]
print(json.dumps({"seen": seen, "values": difference.values.tolist(), "wrote": wrote.as_dict(),
                  "evidence": evidence.as_dict(), "hostile": hostile, "stored": written.size_bytes}))
"""


def test_a_client_that_sees_no_data_reads_and_writes_through_pools_that_see_only_their_own(
    machines: tuple[Client, Path],
) -> None:
    import json
    import subprocess
    import sys

    client, top = machines
    address = client.scheduler.address  # type: ignore[union-attr]
    run = subprocess.run(
        [*machine(hidden=[top / EAST, top / WEST]), sys.executable, "-c", _SCIENTIST, address, str(top)],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    told = json.loads(run.stdout)
    assert told["seen"] == []
    for region_lists in told["hostile"]:  # each Region's folder is empty but for its own worker
        assert sorted(map(bool, region_lists)) == [False, True]
    np.testing.assert_array_equal(told["values"], FIELD[0] * 5)
    assert told["evidence"]["misplaced_tasks"] == 0
    assert told["evidence"]["bytes_read_by_region"].keys() == {EAST, WEST}
    assert told["wrote"]["bytes_read_by_region"].keys() == {WEST}
    store = top / WEST / "results/results/three.zarr"
    assert sum(f.stat().st_size for f in store.rglob("*") if f.is_file()) == told["stored"]


@pytest.mark.parametrize(
    ("folder", "reason"), [("full", "No space left on device"), ("fixed", "Read-only file system")]
)
def test_a_full_disk_and_a_read_only_folder_are_told_and_nothing_half_written_stays(
    machines: tuple[Client, Path], folder: str, reason: str
) -> None:
    client, _ = machines
    noise = np.random.default_rng(1).random((40, 60, 60))
    lazy = xr.Dataset({"t": (("time", "lat", "lon"), pin(da.from_array(noise, chunks=(10, 60, 60)), EAST))})
    with pytest.raises(AccessError, match=rf"results/{folder}/x.zarr could not be written: {reason}.*Free space"):
        compute(client, written_lazily(lazy, EAST, f"results/{folder}/x.zarr"))
    for listing in client.run(_listed, folder).values():
        assert listing == []


def _listed(folder: str) -> list[str]:
    path = Path(os.environ["XDASK_REGION_RESULTS"]) / "results" / folder
    return sorted(str(p) for p in path.rglob("*"))


@pytest.mark.parametrize(
    "array",
    [
        xr.DataArray(np.float64(280.5)),
        xr.DataArray(FIELD[0, 0], dims="member", coords={"member": np.array([f"r{i}i1p1" for i in range(20)], object)}),
        xr.DataArray(
            FIELD[0],
            dims=("j", "i"),
            coords={"latitude": (("j", "i"), FIELD[1]), "longitude": (("j", "i"), FIELD[2])},
        ),
    ],
    ids=["number", "names of members", "native grid"],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_results_of_any_shape_are_written_and_read_back(
    cluster: Cluster, tmp_path: Path, array: xr.DataArray, lazy: bool
) -> None:
    dataset = array.to_dataset(name="x")
    if lazy:
        key = f"results/a/shape{array.ndim}.zarr"
        pinned = dataset.assign(x=(array.dims, pin(da.from_array(array.values), EAST)))
        written = write(cluster.client, pinned, EAST, key)
        (got,), _ = compute(cluster.client, open_entries([entry(written, EAST)]))
    else:
        write_here(dataset, tmp_path / "x.zarr", "x.zarr")
        got = open_here(tmp_path / "x.zarr")
    assert got.x.dims == array.dims
    assert set(got.coords) == set(array.coords)
    np.testing.assert_array_equal(got.x, array)
    for name in array.coords:
        np.testing.assert_array_equal(got[name], array[name])


def test_partitions_of_one_store_that_are_computed_together_are_not_taken_for_each_other(cluster: Cluster) -> None:
    values = np.arange(3.0)[:, None] + np.zeros((3, 8))
    stored = xr.Dataset({"x": (("partition", "lon"), pin(da.from_array(values, chunks=(1, 8)), EAST))})
    written = write(cluster.client, stored, EAST, "results/a/partitions.zarr")
    parts = [
        replace(entry(written, EAST), header=select_steps(written.header, "partition", i, i + 1)) for i in range(3)
    ]
    opened = [open_entries([part], join="partition").x.max() for part in parts]
    found, _ = compute(cluster.client, *opened)
    assert [float(each) for each in found] == [0.0, 1.0, 2.0]
