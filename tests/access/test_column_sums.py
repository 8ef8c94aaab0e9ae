"""A partial of a field as it was opened is summed by the tasks that read it: the same bits, in little memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.access_helpers import described
from tests.support.places import EAST, Cluster
from xdask_pipelines.access import open as opening
from xdask_pipelines.access import open_entries
from xdask_pipelines.access.reading import column_sums
from xdask_pipelines.access.reading.column_sums import sums_while_reading
from xdask_pipelines.climate import month_partial, time_weighted_mean
from xdask_pipelines.climate.kernels import sum_while_reading_by
from xdask_pipelines.errors import AccessError, ChangedEntry
from xdask_pipelines.placement import compute, plan
from xdask_pipelines.synthetic import write_era5_month

T2M = "air_temperature_at_2_metres"
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def summed_elsewhere() -> Iterator[None]:
    """Let tasks that read pass blocks on, as for fields that are not as they were opened."""
    sum_while_reading_by(lambda *_: None)
    try:
        yield
    finally:
        sum_while_reading_by(sums_while_reading)


@contextmanager
def sizes(block_bytes: int, task_bytes: int) -> Iterator[None]:
    """Small blocks and tasks, so that small files have several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "BLOCK_BYTES", block_bytes)
        patch.setattr(column_sums, "TASK_BYTES", task_bytes)
        yield


def written(path: Path, values: np.ndarray, start: int = 0, **stored: Any) -> None:
    """Write hourly values from an hour on, with options of HDF5 and attributes of CF."""
    attrs = stored.pop("attrs", {})
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", track_order=True, userblock_size=stored.pop("userblock_size", 0)) as file:
        steps, ny, nx = values.shape
        for name, axis, units in (
            ("time", 3600.0 * np.arange(start, start + steps), "seconds since 2011-01-01"),
            ("lat", np.linspace(40, -40, ny) if ny > 1 else np.zeros(1), "degrees_north"),
            ("lon", 360.0 / max(nx, 36) * np.arange(nx), "degrees_east"),
        ):
            file.create_dataset(name, data=axis).make_scale(name)
            file[name].attrs["units"] = units
        variable = file.create_dataset("t", data=values, **stored)
        variable.attrs.update({"units": "K", **attrs})
        for i, name in enumerate(("time", "lat", "lon")):
            variable.dims[i].attach_scale(file[name])


FLOATS = st.floats(-(2.0**99), 2.0**99, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, -0.0])


@st.composite
def files(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """Values of a file, and how they are stored."""
    shape = draw(st.integers(2, 70)), draw(st.integers(1, 7)), draw(st.integers(1, 9))
    chunks = tuple(draw(st.integers(1, min(n, 12))) for n in shape)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = np.dtype(draw(st.sampled_from(["<f4", ">f4", "<f8", "<i2", ">i2"])))
    stored: dict[str, Any] = {"chunks": chunks, "shuffle": draw(st.booleans())}
    stored["compression"] = draw(st.sampled_from(["gzip", None]))
    stored["fletcher32"] = draw(st.sampled_from([False, False, True]))
    attrs: dict[str, Any] = {}
    if dtype.kind == "i":
        values = random.integers(-300, 300, shape).astype(dtype)
        attrs = {"scale_factor": draw(st.sampled_from([0.1, 1 / 32])), "add_offset": 273.15}
    else:
        values = (random.normal(0, 1, shape) * 10.0 ** random.integers(-9, 9, shape)).astype(dtype)
        for value in draw(st.lists(FLOATS, max_size=4)):
            values[tuple(random.integers(0, n) for n in shape)] = value
    if draw(st.booleans()):
        attrs["_FillValue"] = values.dtype.type(values.flat[draw(st.integers(0, values.size - 1))])
    return values, {**stored, "attrs": attrs}


@SLOW
@given(files(), st.sampled_from([1, 400, 4_000, 10**9]))
def test_sums_have_the_bits_of_those_of_blocks_that_are_passed_on(
    cluster: Cluster, made: tuple[np.ndarray, dict[str, Any]], block_bytes: int
) -> None:
    values, stored = made
    key = f"columns/{uuid4().hex}.nc"
    written(cluster.data[EAST] / key, values, **stored)
    with sizes(block_bytes, 10**9):
        field = open_entries(described(cluster.client, EAST, key)).t
        with summed_elsewhere():
            passed_on = month_partial(field), time_weighted_mean(field)
        while_reading = month_partial(field), time_weighted_mean(field)
        assert while_reading[0]["sum"].data.name != passed_on[0]["sum"].data.name
        (expected, mean), _ = compute(cluster.client, *passed_on)
        (got, got_mean), evidence = compute(cluster.client, *while_reading)
    for name in ("sum", "count"):
        assert got[name].values.tobytes() == expected[name].values.tobytes(), name
    np.testing.assert_allclose(
        got_mean, mean, rtol=1e-12
    )  # a matrix product adds in an order that depends on the shape
    xr.testing.assert_identical(got, expected)
    with h5py.File(cluster.data[EAST] / key) as file:
        stored_bytes = file["t"].id.get_storage_size()
    assert evidence.bytes_read_by_region == {EAST: 2 * stored_bytes}, "both read each byte once"


@SLOW
@given(st.integers(1, 3), st.sampled_from([1, 3_000, 20_000, 10**9]), st.integers(0, 2**32))
def test_several_files_and_parts_of_files_have_exact_sums(
    cluster: Cluster, count: int, task_bytes: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 40, count)
    keys = [f"columns/{uuid4().hex}.nc" for _ in lengths]
    values = [random.integers(0, 9_000, (n, 7, 9)).astype("f4") / 32 for n in lengths]
    for key, part, end in zip(keys, values, np.cumsum(lengths), strict=True):
        written(cluster.data[EAST] / key, part, end - len(part), chunks=(2, 3, 4), compression="gzip", shuffle=True)
    with sizes(500, task_bytes):
        partial = month_partial(open_entries(described(cluster.client, EAST, *keys)).t)
        (got,), _ = compute(cluster.client, partial)
    together = np.concatenate(values)
    np.testing.assert_array_equal(got["sum"], together.sum(axis=0, dtype="f8"))
    assert (got["count"] == len(together)).all()


def test_units_of_joined_files_are_converted_before_they_are_summed(cluster: Cluster) -> None:
    kelvin = np.full((3, 2, 4), 280.0, "f4")
    for i, (values, units) in enumerate(((kelvin, "K"), (kelvin - 273.15, "degC"))):
        written(cluster.data[EAST] / f"columns/units{i}.nc", values, 3 * i, attrs={"units": units})
    entries = described(cluster.client, EAST, "columns/units0.nc", "columns/units1.nc")
    (got,), _ = compute(cluster.client, month_partial(open_entries(entries).t))
    np.testing.assert_allclose(got["sum"], 6 * 280.0, rtol=1e-7)


def test_a_file_that_begins_later_and_chunks_that_were_never_written_are_read(cluster: Cluster) -> None:
    values = np.arange(40 * 4 * 6, dtype="f4").reshape(40, 4, 6)
    path = cluster.data[EAST] / "columns/later.nc"
    written(path, values, chunks=(1, 2, 2), compression="gzip", shuffle=True, userblock_size=1024)
    with h5py.File(path, "r+") as file:
        attrs, size = dict(file["t"].attrs), file["t"].id.get_storage_size()
        del file["t"]
        kept = file.create_dataset("t", values.shape, "f4", chunks=(1, 2, 2), compression="gzip", fillvalue=7.0)
        kept.attrs["units"] = attrs["units"]
        for i, name in enumerate(("time", "lat", "lon")):
            kept.dims[i].attach_scale(file[name])
        kept[:30] = values[:30]
    assert size
    (got,), _ = compute(
        cluster.client, month_partial(open_entries(described(cluster.client, EAST, "columns/later.nc")).t)
    )
    np.testing.assert_array_equal(got["sum"], values[:30].sum(axis=0) + 10 * 7.0)


def test_a_month_is_a_few_tasks_that_the_plan_predicts(cluster: Cluster) -> None:
    path = write_era5_month(cluster.data[EAST] / "columns", 2011, 1, shape=(19, 36), hours=48, chunks=(24, 5, 10))
    key = str(path.relative_to(cluster.data[EAST]))
    with sizes(20_000, 40_000):
        partial = month_partial(open_entries(described(cluster.client, EAST, key), [T2M])[T2M])
    predicted = plan(partial)
    (got,), evidence = compute(cluster.client, partial)
    assert partial["sum"].chunks == ((5, 5, 5, 4), (36,))
    assert predicted.tasks_by_region == evidence.tasks_by_region == {EAST: 12}
    with h5py.File(path) as file:
        np.testing.assert_array_equal(got["sum"], file[T2M][:].sum(axis=0, dtype="f8"))
        assert evidence.bytes_read_by_region == {EAST: file[T2M].id.get_storage_size()}
    assert abs(predicted.bytes_read_by_region[EAST] - evidence.bytes_read_by_region[EAST]) < 100


@pytest.mark.parametrize(
    "change",
    [
        lambda field: field.isel(time0=slice(2, 30)),
        lambda field: field - 273.15,
        lambda field: field.transpose("lat", "lon", "time0"),
        lambda field: field.chunk(lat=3),
    ],
    ids=["some hours", "computed", "transposed", "other chunks"],
)
def test_other_fields_are_summed_as_before(cluster: Cluster, change: Any) -> None:
    path = write_era5_month(cluster.data[EAST] / "columns", 2011, 2, shape=(19, 36), hours=48, chunks=(24, 5, 10))
    opened = open_entries(described(cluster.client, EAST, str(path.relative_to(cluster.data[EAST]))), [T2M])[T2M]
    field = change(opened)
    assert sums_while_reading(field.transpose("time0", ...).data, len, (), "f8") is None
    (got, whole), _ = compute(cluster.client, month_partial(field), field)
    np.testing.assert_allclose(got["sum"], whole.astype("f8").sum("time0"), rtol=1e-12)


def test_a_damaged_chunk_is_one_error_with_file_and_hours(cluster: Cluster) -> None:
    path = write_era5_month(cluster.data[EAST] / "columns", 2011, 3, shape=(19, 36), hours=60, chunks=(24, 10, 20))
    key = str(path.relative_to(cluster.data[EAST]))
    entries = described(cluster.client, EAST, key)
    with h5py.File(path) as file:
        info = file[T2M].id.get_chunk_info_by_coord((48, 10, 20))
    before = path.stat()
    with path.open("r+b") as raw:
        raw.seek(info.byte_offset + info.size // 2)
        raw.write(b"\xff" * 8)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    where = r"chunk at time0 48, lat 10, lon 20 \(2011-03-03 00:00:00 to 2011-03-03 11:00:00\) is damaged"
    for lazy in (month_partial(open_entries(entries, [T2M])[T2M]), open_entries(entries, [T2M])[T2M]):
        with pytest.raises(AccessError, match=re.escape(key) + rf" in {EAST} cannot be read.*{where}.*xdask sync"):
            compute(cluster.client, lazy)


def test_a_file_that_changed_is_refused(cluster: Cluster) -> None:
    path = write_era5_month(cluster.data[EAST] / "columns", 2011, 4, shape=(19, 36), hours=24)
    entries = described(cluster.client, EAST, str(path.relative_to(cluster.data[EAST])))
    write_era5_month(cluster.data[EAST] / "columns", 2011, 4, shape=(19, 36), hours=24, seed=1)
    with pytest.raises(ChangedEntry, match="changed after it was catalogued"):
        compute(cluster.client, month_partial(open_entries(entries, [T2M])[T2M]))


def test_memory_does_not_grow_with_the_month(cluster: Cluster) -> None:
    """300 MB of values through a few MB: of a worker's peak, the sums and chunks of 1 MB are all."""
    values = np.broadcast_to(np.float32(280.0), (744, 300, 336))
    key = "columns/large.nc"
    written(
        cluster.data[EAST] / key, values, chunks=(24, 100, 100), compression="gzip", compression_opts=1, shuffle=True
    )
    partial = month_partial(open_entries(described(cluster.client, EAST, key)).t)
    compute(cluster.client, month_partial(open_entries(described(cluster.client, EAST, key)).t.isel(lat=slice(1))))
    pids = cluster.client.run(os.getpid).values()
    before = {pid: status(pid, "VmRSS") for pid in pids}
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    (got,), _ = compute(cluster.client, partial)
    assert (got["sum"] == 744 * 280.0).all()
    assert max(status(pid, "VmHWM") - rss for pid, rss in before.items()) < 60e6


def status(pid: int, name: str) -> float:
    """Memory of a process, in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return 1024.0 * int(found[1])
