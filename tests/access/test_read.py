"""Blocks are read at home, decoded by CF rules, counted, and only from the file that was catalogued."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import dask
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from tests.support.access_helpers import Entry, described
from tests.support.grib_files import message as grib_message
from tests.support.grib_files import write_grib
from tests.support.places import EAST, WEST, Cluster
from xdask_pipelines.access import open_entries
from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.describing.grib import load_eccodes
from xdask_pipelines.access.header import describe
from xdask_pipelines.errors import AccessError, ChangedEntry
from xdask_pipelines.placement import PlacementError, compute
from xdask_pipelines.synthetic import write_era5_month

T2M = "air_temperature_at_2_metres"
RNG = np.random.default_rng(5)
FIELD = RNG.integers(0, 320, (30, 18, 20)) / 32


def dataset(values: np.ndarray = FIELD, start: int = 0) -> xr.Dataset:
    ny, nx = values.shape[1:]
    coords = {
        "time": ("time", np.arange(start, start + len(values)) * 3600.0, {"units": "seconds since 1970-01-01"}),
        "lat": ("lat", np.linspace(80, -80, ny), {"units": "degrees_north"}),
        "lon": ("lon", np.linspace(0, 340, nx), {"units": "degrees_east"}),
    }
    attrs = {"units": "K", "standard_name": "air_temperature"}
    return xr.Dataset({"t": (("time", "lat", "lon"), values, attrs)}, coords, {"title": "made for a test"})


def netcdf(path: Path, ds: xr.Dataset, **encoding: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.to_netcdf(path, engine="netcdf4", encoding={"t": encoding} if encoding else {})


PACKED = np.where(FIELD == 5, np.nan, FIELD)
NETCDF = {
    "deflated": (FIELD, {"zlib": True, "chunksizes": (7, 10, 8)}),
    "shuffled": (FIELD, {"zlib": True, "shuffle": True, "chunksizes": (30, 5, 20), "dtype": "f4"}),
    "packed": (
        PACKED,
        {
            "zlib": True,
            "chunksizes": (8, 9, 10),
            "dtype": "i2",
            "scale_factor": 1 / 32,
            "add_offset": 3.0,
            "_FillValue": -999,
        },
    ),
    "checksummed": (FIELD, {"zlib": True, "fletcher32": True, "chunksizes": (7, 10, 8)}),
    "contiguous": (FIELD, {"contiguous": True, "zlib": False}),
}


@pytest.mark.parametrize("name", NETCDF)
def test_a_netcdf_file_is_read_as_xarray_reads_it(cluster: Cluster, name: str) -> None:
    values, encoding = NETCDF[name]
    key = f"read/{name}.nc"
    netcdf(cluster.data[EAST] / key, dataset(values), **encoding)
    lazy = open_entries(described(cluster.client, EAST, key))
    (got,), evidence = compute(cluster.client, lazy)
    with xr.open_dataset(cluster.data[EAST] / key, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)) as expected:
        xr.testing.assert_identical(got, expected.load())
        assert got.t.dtype == lazy.t.dtype == expected.t.dtype
    np.testing.assert_array_equal(got.t, values)
    with h5py.File(cluster.data[EAST] / key) as file:
        assert evidence.bytes_read_by_region == {EAST: file["t"].id.get_storage_size()}


def test_chunks_that_were_never_written_are_fill_values(cluster: Cluster) -> None:
    path = cluster.data[EAST] / "read/sparse.nc"
    ds = dataset(np.full_like(FIELD, np.nan))
    netcdf(path, ds, zlib=True, chunksizes=(10, 18, 20), _FillValue=np.nan)
    with h5py.File(path, "r+") as file:
        attrs = dict(file["t"].attrs)
        del file["t"]
        made = file.create_dataset("t", FIELD.shape, "f8", chunks=(10, 18, 20), compression="gzip", fillvalue=-1.0)
        made.attrs.update({k: v for k, v in attrs.items() if k in ("units", "standard_name")} | {"_FillValue": -1.0})
        for axis, dim in enumerate(("time", "lat", "lon")):
            made.dims[axis].attach_scale(file[dim])
        made[10:20] = FIELD[10:20]
        stored = made.id.get_storage_size()
    (got,), evidence = compute(cluster.client, open_entries(described(cluster.client, EAST, "read/sparse.nc")).t)
    np.testing.assert_array_equal(got[10:20], FIELD[10:20])
    assert np.isnan(got[:10]).all()
    assert np.isnan(got[20:]).all()
    assert evidence.bytes_read_by_region == {EAST: stored}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_zarr_store_is_read_as_xarray_reads_it_and_missing_chunks_cost_nothing(
    cluster: Cluster, zarr_format: int
) -> None:
    key = f"read/store{zarr_format}.zarr"
    path = cluster.data[WEST] / key
    encoding = {"t": {"chunks": (10, 9, 20), "_FillValue": -1.0}}
    dataset().to_zarr(path, zarr_format=zarr_format, consolidated=True, encoding=encoding)
    gone = path / "t" / ("1.0.0" if zarr_format == 2 else "c/1/0/0")
    size = gone.stat().st_size
    gone.unlink()
    lazy = open_entries(described(cluster.client, WEST, key, file_format=f"zarr{zarr_format}"))
    (got,), evidence = compute(cluster.client, lazy)
    with xr.open_zarr(path, chunks=None, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)) as expected:
        xr.testing.assert_equal(got, expected.load())
    assert np.isnan(got.t[10:20, :9]).all()
    assert size > 0
    chunks = [f for f in (path / "t").rglob("*") if f.is_file() and not f.name.startswith((".z", "zarr"))]
    assert evidence.bytes_read_by_region == {WEST: sum(f.stat().st_size for f in chunks)}


def test_entries_are_joined_along_time_whatever_their_order(cluster: Cluster) -> None:
    keys = [f"read/part{i}.nc" for i in range(3)]
    for i, key in enumerate(keys):
        netcdf(
            cluster.data[EAST] / key, dataset(FIELD[10 * i : 10 * i + 10], 10 * i), zlib=True, chunksizes=(5, 18, 20)
        )
    a, b, c = described(cluster.client, EAST, *keys)
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, open_entries([c, a, b]).t)
    np.testing.assert_array_equal(got, FIELD)
    assert (np.diff(got.indexes["time"]).astype("m8[s]").astype(int) == 3600).all()
    assert not cluster.recorder.strays(recording)
    assert {Path(p).name for p in recording.opened[EAST]} == {"part0.nc", "part1.nc", "part2.nc"}
    assert evidence.tasks_by_region == recording.tasks


def test_what_does_not_fit_together_is_refused_by_name(cluster: Cluster) -> None:
    root = cluster.data[EAST] / "fit"
    netcdf(root / "a.nc", dataset())
    netcdf(root / "overlaps.nc", dataset(start=10))
    netcdf(root / "elsewhere.nc", dataset(start=50).assign_coords(lat=dataset().lat + 1))
    netcdf(root / "smaller.nc", dataset(start=50).isel(lon=slice(10)))
    netcdf(root / "other.nc", dataset(start=50).rename(t="u"))
    a, overlaps, elsewhere, smaller, other = described(
        cluster.client, EAST, *(f"fit/{n}.nc" for n in ("a", "overlaps", "elsewhere", "smaller", "other"))
    )
    for entries, message in (
        ([], "No entries"),
        ([a, overlaps], "overlap in time"),
        ([a, elsewhere], "'lat' of us-east-1:fit/elsewhere.nc differs"),
        ([a, smaller], "differs"),
        ([a, other], "no variable t; it has u"),
        ([Entry(**{**vars(a), "header": None})], "no header of us-east-1:fit/a.nc"),
        ([a, Entry(**{**vars(overlaps), "region": WEST})], f"{EAST} and {WEST} cannot be one"),
    ):
        with pytest.raises(AccessError, match=message):
            open_entries(entries)
    with pytest.raises(AccessError, match="no variable x; it has t"):
        open_entries([a], ["x"])


def test_a_file_that_changed_after_it_was_catalogued_is_refused(cluster: Cluster) -> None:
    path = cluster.data[EAST] / "read/changed.nc"
    netcdf(path, dataset())
    (entry,) = described(cluster.client, EAST, "read/changed.nc")
    netcdf(path, dataset(FIELD + 1))
    with pytest.raises(ChangedEntry, match=r"read/changed.nc in us-east-1 changed after.*xdask sync"):
        compute(cluster.client, open_entries([entry]).t.mean())


def test_a_chunk_that_changed_in_a_store_is_refused(cluster: Cluster) -> None:
    path = cluster.data[WEST] / "read/changed.zarr"
    dataset().to_zarr(path, zarr_format=2, consolidated=True)
    (entry,) = described(cluster.client, WEST, "read/changed.zarr", file_format="zarr2")
    zarr.open_array(path / "t", mode="r+")[0] = 3.0
    with pytest.raises(ChangedEntry, match=r"read/changed.zarr in us-west-2 changed"):
        compute(cluster.client, open_entries([entry]).t.mean())


def test_a_file_is_compared_with_what_the_mount_said_and_not_with_the_time_that_s3_has(cluster: Cluster) -> None:
    path = cluster.data[EAST] / "read/s3.nc"
    netcdf(path, dataset())
    (entry,) = described(cluster.client, EAST, "read/s3.nc")
    assert entry.header["file"] == {"size_bytes": path.stat().st_size, "modified_ns": path.stat().st_mtime_ns}
    listed = Entry(**{**vars(entry), "modified_ns": 1_500_000_000_000_000_000})
    (got,), _ = compute(cluster.client, open_entries([listed]).t)
    np.testing.assert_array_equal(got, FIELD)
    with pytest.raises(ChangedEntry, match=r"had 5 bytes when it was listed, and \d+ when its header was read"):
        open_entries([Entry(**{**vars(entry), "size_bytes": 5})])


def test_a_store_s_time_is_that_of_its_latest_file(cluster: Cluster) -> None:
    path = cluster.data[WEST] / "read/latest.zarr"
    dataset().to_zarr(path, zarr_format=3, consolidated=False)
    (entry,) = described(cluster.client, WEST, "read/latest.zarr", file_format="zarr3")
    latest = max(f.stat().st_mtime_ns for f in path.rglob("*") if f.is_file())
    assert entry.header["file"]["modified_ns"] == latest
    (got,), _ = compute(cluster.client, open_entries([Entry(**{**vars(entry), "modified_ns": 1})]).t)
    np.testing.assert_array_equal(got, FIELD)


def test_a_sharded_store_counts_the_chunks_that_are_read_and_sees_a_shard_that_changed(cluster: Cluster) -> None:
    path = cluster.data[WEST] / "read/sharded.zarr"
    encoding = {"t": {"chunks": (5, 9, 10), "shards": (15, 18, 20), "compressors": None}}
    dataset().to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)
    (entry,) = described(cluster.client, WEST, "read/sharded.zarr", file_format="zarr3")
    (got,), evidence = compute(cluster.client, open_entries([entry]).t)
    np.testing.assert_array_equal(got, FIELD)
    shards = [f for f in (path / "t/c").rglob("*") if f.is_file()]
    assert len(shards) == 2
    assert evidence.bytes_read_by_region == {WEST: sum(f.stat().st_size for f in shards)}
    os.utime(shards[0])
    with pytest.raises(ChangedEntry):
        compute(cluster.client, open_entries([entry]).t.mean())


def test_decades_of_hours_in_one_cube_fit_the_catalog_and_uneven_ones_do_not(tmp_path: Path) -> None:
    hours = np.arange(200_000)
    cube = xr.Dataset(
        {"t": ("time", np.zeros(len(hours), "f4"))}, {"time": ("time", hours, {"units": "hours since 1959-01-01"})}
    )
    cube.to_zarr(tmp_path / "even.zarr", zarr_format=3, consolidated=False)
    header = describe(tmp_path / "even.zarr", "zarr3")
    assert len(json.dumps(header)) < 2000
    np.testing.assert_array_equal(unpack(header["coords"]["time"]), hours)
    uneven = np.cumsum(np.random.default_rng(0).random(hours.size) + 0.1)
    cube.assign_coords(time=("time", uneven, cube.time.attrs)).to_zarr(
        tmp_path / "uneven.zarr", zarr_format=3, consolidated=False
    )
    with pytest.raises(AccessError, match=r"coordinate 'time' of 1600000 bytes.*unless they are whole numbers of even"):
        describe(tmp_path / "uneven.zarr", "zarr3")


def test_what_ncar_files_carry_beside_their_variable_is_a_coordinate(tmp_path: Path) -> None:
    ncar = dataset().rename(t="VAR_2T").assign(utc_date=("time", np.arange(30, dtype="i4")))
    ncar.to_netcdf(tmp_path / "a.nc")
    header = describe(tmp_path / "a.nc", "netcdf4")
    assert list(header["variables"]) == ["VAR_2T"]
    assert "utc_date" in header["coords"]


@pytest.mark.parametrize("part", ["chunk", "half", "gone"])
def test_a_truncated_file_is_refused_with_what_to_do(cluster: Cluster, part: str) -> None:
    path = write_era5_month(cluster.data[EAST] / f"cut-{part}", 2011, 1, hours=24, shape=(19, 36))
    key = str(path.relative_to(cluster.data[EAST]))
    (entry,) = described(cluster.client, EAST, key)
    size = path.stat().st_size
    if part == "gone":
        path.unlink()
    else:
        os.truncate(path, size - 100 if part == "chunk" else size // 2)
        os.utime(path, ns=(entry.modified_ns, entry.modified_ns))
        cut = {"size_bytes": path.stat().st_size, "modified_ns": entry.modified_ns}  # the size alone would tell
        entry = Entry(**{**vars(entry), "size_bytes": cut["size_bytes"], "header": {**entry.header, "file": cut}})
    with pytest.raises(AccessError, match=rf"{T2M}.nc in {EAST} cannot be read.*xdask sync"):
        compute(cluster.client, open_entries([entry])[T2M].mean())


def test_describing_what_is_damaged_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    netcdf(tmp_path / "a.nc", dataset())
    os.truncate(tmp_path / "a.nc", 900)
    with pytest.raises(AccessError, match=r"a.nc cannot be read as netcdf4.*corrupt.*xdask sync"):
        describe(tmp_path / "a.nc", "netcdf4")
    with pytest.raises(AccessError, match=r"b.zarr cannot be read as zarr3"):
        describe(tmp_path / "b.zarr", "zarr3")
    gap = dataset().assign_coords(lat=np.where(np.arange(18) == 4, np.nan, dataset().lat))
    netcdf(tmp_path / "gap.nc", gap)
    with pytest.raises(AccessError, match=r"gap.nc has a missing value in its coordinate 'lat' at index 4"):
        describe(tmp_path / "gap.nc", "netcdf4")


# ---- the guard ------------------------------------------------------------------------------------------------------


def _by_open(path: str) -> Any:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(10)


def _by_os(path: str) -> Any:
    return os.open(path, os.O_RDONLY)


def _by_numpy(path: str) -> Any:
    return np.fromfile(path, np.uint8)


def _by_h5py(path: str) -> Any:
    with h5py.File(path) as file:
        return list(file)


def _by_netcdf4(path: str) -> Any:
    import netCDF4

    return str(netCDF4.Dataset(path))


def _by_xarray(path: str) -> Any:
    return xr.open_dataset(path).load()


def _by_xarray_with_netcdf4(path: str) -> Any:
    return xr.open_dataset(path, engine="netcdf4").load()


def _by_zarr(path: str) -> Any:
    return zarr.open_group(Path(path).with_name("guarded.zarr"), mode="r")["t"][:]


def _by_eccodes(path: str) -> Any:
    return load_eccodes().FileReader(path.replace(".nc", ".grib"))


def _by_eccodes_index(path: str) -> Any:
    eccodes = load_eccodes()
    return eccodes.codes_index_new_from_file(path.replace(".nc", ".grib"), ["shortName"])


def _by_eccodes_offsets(path: str) -> Any:
    eccodes = load_eccodes()
    return list(eccodes.codes_extract_offsets(path.replace(".nc", ".grib"), eccodes.CODES_PRODUCT_GRIB))


def _by_sqlite(path: str) -> Any:
    import sqlite3

    return sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("select 1").fetchall()


def _by_another_program(path: str) -> Any:
    import subprocess

    return subprocess.run(["cat", path], capture_output=True, check=True).stdout


def _by_a_shell(path: str) -> Any:
    return os.system(f"cat {path} > /dev/null")


def _by_pyarrow(path: str) -> Any:
    import pyarrow

    return pyarrow.memory_map(path).read(10)


def _by_parquet(path: str) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def _by_arrow_dataset(path: str) -> Any:
    import pyarrow.dataset

    return pyarrow.dataset.dataset([path], format="csv").to_table()


def _by_pandas(path: str) -> Any:
    import pandas

    return pandas.read_csv(path, encoding="latin-1")


def _by_polars(path: str) -> Any:
    import polars

    return polars.read_csv(path)


def _by_a_hard_link(path: str) -> Any:
    os.link(path, Path(tempfile.gettempdir()) / f"hard-{os.getpid()}")


def _by_a_link(path: str) -> Any:
    link = Path(tempfile.gettempdir()) / f"link-{os.getpid()}"
    link.symlink_to(Path(path).parent)
    try:
        return _by_open(str(link / Path(path).name))
    finally:
        link.unlink()


def _by_a_linked_mount(path: str) -> Any:
    return _by_open(path.replace("guarded/guarded.nc", "linked/inside.nc"))


def _by_where_a_linked_mount_leads(path: str) -> Any:
    return _by_open(str(Path(path).parents[3] / "elsewhere/inside.nc"))


def _by_descriptor_of_the_folder(path: str) -> Any:
    folder = os.open(Path(path).parent, os.O_RDONLY)
    return os.open(Path(path).name, os.O_RDONLY, dir_fd=folder)


def _by_deleting(path: str) -> Any:
    Path(path).unlink()


def _by_renaming(path: str) -> Any:
    Path(path).rename(path + ".new")


def _by_writing(path: str) -> Any:
    h5py.File(path + ".new", "w").close()


def _by_writing_netcdf4(path: str) -> Any:
    dataset().to_netcdf(path + ".new", engine="netcdf4")


def _swallowing(path: str) -> Any:
    try:
        return _by_open(path)
    except Exception:
        return "nothing was wrong"


def _in_a_thread(path: str) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(_swallowing, path).result()


READERS = [
    *(_by_open, _by_os, _by_numpy, _by_h5py, _by_netcdf4, _by_xarray, _by_xarray_with_netcdf4, _by_zarr),
    *(_by_eccodes, _by_eccodes_index, _by_eccodes_offsets),
    *(
        _by_sqlite,
        _by_another_program,
        _by_a_shell,
        _by_pyarrow,
        _by_parquet,
        _by_arrow_dataset,
        _by_pandas,
        _by_polars,
    ),
    *(
        _by_a_hard_link,
        _by_a_link,
        _by_a_linked_mount,
        _by_where_a_linked_mount_leads,
        _by_descriptor_of_the_folder,
        _by_deleting,
        _by_renaming,
    ),
    *(_by_writing, _by_writing_netcdf4, _swallowing, _in_a_thread),
]


@pytest.fixture(scope="module")
def guarded(running: Cluster) -> str:
    path = running.data[EAST] / "guarded/guarded.nc"
    netcdf(path, dataset())
    dataset().to_zarr(path.with_name("guarded.zarr"), zarr_format=2, consolidated=True)
    write_grib(path.with_name("guarded.grib"), grib_message())
    return str(path)


@pytest.mark.parametrize("where", [EAST, WEST])
@pytest.mark.parametrize("reader", READERS, ids=lambda f: f.__name__.strip("_"))
def test_code_that_opens_data_by_itself_is_refused_though_a_library_swallows_the_error(
    cluster: Cluster, guarded: str, reader: Any, where: str
) -> None:
    # Zarr looks whether a store exists before it opens it: in another Region's pool it does not.
    hidden = FileNotFoundError if reader is _by_zarr and where == WEST else PlacementError
    with (
        cluster.client.as_current(),
        pytest.raises((PlacementError, hidden), match=r"without placement|does not exist"),
    ):
        compute(cluster.client, _at(where, reader, guarded))
    assert sorted(p.name for p in Path(guarded).parent.iterdir()) == ["guarded.grib", "guarded.nc", "guarded.zarr"]


def test_no_program_on_a_worker_sees_the_folders_of_another_region(cluster: Cluster, guarded: str) -> None:
    def seen(name: str) -> tuple[bool, int]:
        import subprocess

        found = subprocess.run(
            ["find", str(Path(name).parents[4]), "-name", Path(name).name], capture_output=True, text=True
        )
        return Path(name).exists(), len(found.stdout.split())

    ((here, there),), _ = compute(cluster.client, [_at(EAST, seen, guarded), _at(WEST, seen, guarded)])
    assert here == (True, 1)
    assert there == (False, 0)


def _at(region: str, function: Any, *args: Any) -> Any:
    """A delayed call that lands in a pool: a user may name keys as he likes, the guard looks at what is done."""
    return dask.delayed(function, pure=False)(
        *args, dask_key_name=f"mine@@{region.replace('-', '_')}-{function.__name__}"
    )
