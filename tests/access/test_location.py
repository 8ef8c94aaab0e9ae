"""Nothing is read, and nothing removed, outside of a mount: neither by links nor by what a file says of other files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from tests.support.access_helpers import Entry, described
from tests.support.catalog_helpers import CMIP6, plan
from tests.support.netcdf_files import field, written
from tests.support.places import EAST, Cluster
from xdask_pipelines.access import open_entries, written_lazily
from xdask_pipelines.access.describing.raw import Unusable
from xdask_pipelines.access.garbage import collect
from xdask_pipelines.access.header import describe
from xdask_pipelines.access.location import Location
from xdask_pipelines.access.reading.read_block import read_file
from xdask_pipelines.access.syncing.worker_calls import HeaderRequest, describe_at_home
from xdask_pipelines.access.write import write_here
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.catalog.sync import commit_sync
from xdask_pipelines.errors import AccessError, XdaskError
from xdask_pipelines.lustre.mount_files import unlink_below
from xdask_pipelines.placement import compute

FIELD = field(range(4))
SECRET = np.full(FIELD.t2m.shape, 7.0, "f4")
DRS = "cmip6/CMIP/MOHC/UKESM1-0-LL/historical/r1i1p1f2/Amon/tas/gn/v20190406"


# ---- HDF5 -------------------------------------------------------------------------------------------------------


def _external_storage(file: h5py.File, elsewhere: Path) -> None:
    """The values are bytes of any other file."""
    SECRET.tofile(elsewhere / "secret.raw")
    file.create_dataset("t2m", SECRET.shape, "f4", external=[(str(elsewhere / "secret.raw"), 0, SECRET.nbytes)])


def _external_link(file: h5py.File, elsewhere: Path) -> None:
    file["t2m"] = h5py.ExternalLink(str(elsewhere / "secret.nc"), "/t2m")


def _soft_link_to_an_external_link(file: h5py.File, elsewhere: Path) -> None:
    file["out"] = h5py.ExternalLink(str(elsewhere / "secret.nc"), "/")
    file["t2m"] = h5py.SoftLink("/out/t2m")


def _virtual(file: h5py.File, elsewhere: Path) -> None:
    layout = h5py.VirtualLayout(SECRET.shape, "f4")
    layout[:] = h5py.VirtualSource(str(elsewhere / "secret.nc"), "t2m", SECRET.shape)
    file.create_virtual_dataset("t2m", layout)


def store(path: Path, dataset: xr.Dataset, zarr_format: int = 2) -> Path:
    encoding = {str(name): {"chunks": (1, *v.shape[1:])} for name, v in dataset.data_vars.items()}
    dataset.to_zarr(path, zarr_format=zarr_format, consolidated=zarr_format == 2, encoding=encoding)  # type: ignore[call-overload]
    return path


WAYS_OUT = [_external_storage, _external_link, _soft_link_to_an_external_link, _virtual]


def leading_out(path: Path, way: Callable[[h5py.File, Path], None]) -> Path:
    """A sound file whose variable's values lie in another folder."""
    elsewhere = path.parent.with_name(f"{path.parent.name}-elsewhere")
    written(elsewhere / "secret.nc", FIELD.assign(t2m=FIELD.t2m.copy(data=SECRET)))
    written(path, FIELD)
    with h5py.File(path, "r+") as file:
        old = file["t2m"]
        attrs = {name: value for name, value in old.attrs.items() if name not in ("DIMENSION_LIST",)}
        del file["t2m"]
        way(file, elsewhere)
        if isinstance(file.get("t2m", getlink=True), h5py.HardLink):
            file["t2m"].attrs.update(attrs)
            for axis, name in enumerate(("time", "lat", "lon")):
                file["t2m"].dims[axis].attach_scale(file[name])
    return path


@pytest.mark.parametrize("way", WAYS_OUT)
def test_values_of_other_files_are_neither_described_nor_read(tmp_path: Path, way: Any) -> None:
    path = leading_out(tmp_path / "mount" / "a.nc", way)
    with h5py.File(path) as file:
        assert (file["t2m"][...] == 7).all(), "HDF5 itself follows"
    with pytest.raises(
        AccessError, match=r"a\.nc (has a|keeps the values of).*(t2m|out).*write a copy that holds its values"
    ):
        describe(path, "netcdf4")
    with pytest.raises(Unusable):
        read_file(path, "t2m", (slice(0, 4), slice(0, 18), slice(0, 36)))


def test_a_virtual_dataset_opens_no_other_file_before_it_is_refused(tmp_path: Path) -> None:
    path = leading_out(tmp_path / "mount" / "a.nc", _virtual)
    (tmp_path / "mount-elsewhere" / "secret.nc").unlink()
    os.mkfifo(tmp_path / "mount-elsewhere" / "secret.nc")  # opening it would wait for ever
    with pytest.raises(AccessError, match="virtual dataset"):
        describe(path, "netcdf4")


def test_a_soft_link_inside_the_file_is_followed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nc", FIELD)
    with h5py.File(path, "r+") as file:
        file.move("t2m", "inner/t2m")
        file["t2m"] = h5py.SoftLink("/inner/t2m")
    assert list(describe(path, "netcdf4")["variables"]) == ["t2m"]
    assert (read_file(path, "t2m", (slice(3, 4), slice(0, 1), slice(0, 1))) == 3).all()


def test_a_file_replaced_after_it_was_catalogued_is_not_followed(cluster: Cluster, tmp_path: Path) -> None:
    folder = cluster.data[EAST] / tmp_path.name
    written(folder / "a.nc", FIELD)
    (entry,) = described(cluster.client, EAST, f"{tmp_path.name}/a.nc")
    leading_out(folder / "a.nc", _virtual)
    with pytest.raises(AccessError, match=rf"a\.nc in {EAST} has a virtual dataset.*xdask sync"):
        compute(cluster.client, open_entries([as_now(entry, folder / "a.nc")]).t2m.mean())


def as_now(entry: Entry, path: Path) -> Entry:
    """The entry with size and time of the file as it is now: what an attacker can forge."""
    now = {"size_bytes": path.stat().st_size, "modified_ns": path.stat().st_mtime_ns}
    return Entry(**{**vars(entry), **now, "header": {**(entry.header or {}), "file": now}})


# ---- links ------------------------------------------------------------------------------------------------------


def mean(cluster: Cluster, entry: Entry) -> float:
    (got,), _ = compute(cluster.client, open_entries([entry]).t2m.mean())
    return float(got)


def test_a_file_that_became_a_link_is_read_inside_its_mount_only(cluster: Cluster, tmp_path: Path) -> None:
    folder = cluster.data[EAST] / tmp_path.name
    written(folder / "a.nc", FIELD)
    (entry,) = described(cluster.client, EAST, f"{tmp_path.name}/a.nc")
    (folder / "a.nc").rename(folder / "b.nc")
    (folder / "a.nc").symlink_to("b.nc")
    assert mean(cluster, entry) == 1.5
    (folder / "b.nc").rename(tmp_path / "b.nc")
    (folder / "a.nc").unlink()
    (folder / "a.nc").symlink_to(tmp_path / "b.nc")
    with pytest.raises(AccessError, match=r"leads out of its mount.*symbolic link to .*b\.nc.*xdask sync"):
        mean(cluster, entry)


def test_a_mount_may_be_a_link_and_its_folders_may_not(cluster: Cluster, tmp_path: Path) -> None:
    written(tmp_path / "disk" / "2001" / "a.nc", FIELD)
    mount = cluster.data[EAST] / tmp_path.name / "deep"
    mount.parent.mkdir()
    mount.symlink_to(tmp_path / "disk")
    key = f"{tmp_path.name}/deep/2001/a.nc"
    (entry,) = described(cluster.client, EAST, key)
    entry = Entry(**{**vars(entry), "header": {**(entry.header or {}), "mount": f"{tmp_path.name}/deep"}})
    assert mean(cluster, entry) == 1.5
    (tmp_path / "disk" / "2001").rename(tmp_path / "2001")
    (tmp_path / "disk" / "2001").symlink_to(tmp_path / "2001")
    with pytest.raises(AccessError, match="leads out of its mount"):
        mean(cluster, entry)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_is_read_inside_its_mount_only(cluster: Cluster, tmp_path: Path, zarr_format: int) -> None:
    mount = cluster.data[EAST] / tmp_path.name
    path = store(mount / "a.zarr", FIELD, zarr_format)
    (entry,) = described(cluster.client, EAST, f"{tmp_path.name}/a.zarr", file_format=f"zarr{zarr_format}")
    chunk = path / "t2m" / ("0.0.0" if zarr_format == 2 else "c/0/0/0")
    chunk.rename(mount / "elsewhere")
    chunk.symlink_to(mount / "elsewhere")
    assert mean(cluster, entry) == 1.5

    (mount / "elsewhere").rename(tmp_path / "elsewhere")
    chunk.unlink()
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AccessError, match="link that leads out of its mount, t2m/"):
        mean(cluster, entry)
    with pytest.raises(AccessError, match=r"a\.zarr has a link that leads out of its mount"):
        describe(path, f"zarr{zarr_format}")

    chunk.unlink()
    shutil.move(tmp_path / "elsewhere", chunk)
    folder = chunk.parent
    folder.rename(tmp_path / "folder")
    folder.symlink_to(tmp_path / "folder")
    with pytest.raises(AccessError, match="link to a folder, t2m"):
        mean(cluster, entry)
    with pytest.raises(AccessError, match="link to a folder, t2m"):
        describe(path, f"zarr{zarr_format}")


def test_looks_at_a_store_are_one_for_each_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(tmp_path / "a.zarr", field(range(50)))
    place, looks = Location(folder, folder), list[str]()
    lstat = Path.lstat
    monkeypatch.setattr(Path, "lstat", lambda path: looks.append(path.name) or lstat(path))
    for step in range(50):
        place.status(folder / "t2m" / f"{step}.0.0")
    assert len(looks) == 51, "a chunk each, and their folder once"


def test_an_array_whose_name_leads_out_is_refused(tmp_path: Path) -> None:
    folder = store(tmp_path / "mount" / "a.zarr", FIELD)
    zarr.open_group(tmp_path / "secret.zarr", mode="w", zarr_format=2).create_array("x", data=SECRET)
    text = (folder / ".zmetadata").read_text()
    (folder / ".zmetadata").write_text(text.replace('"t2m/.z', '"../../secret.zarr/x/.z'))
    with pytest.raises(AccessError, match=r"a\.zarr"):
        describe(folder, "zarr2")
    with pytest.raises(Unusable, match="leads out of the store"):
        Location(folder, folder).below("../../secret.zarr/x")


class _Touch:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._path}'",)


def test_no_code_that_a_store_holds_is_run(tmp_path: Path) -> None:
    """Zarr v2 may name pickle as a filter of objects."""
    folder = store(tmp_path / "a.zarr", FIELD.assign_coords(station=("time", list("abcd"))))
    metadata = json.loads((folder / "station" / ".zarray").read_text())
    metadata |= {"dtype": "|O", "compressor": None, "filters": [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}]}
    (folder / "station" / ".zarray").write_text(json.dumps(metadata))
    together = json.loads((folder / ".zmetadata").read_text())
    together["metadata"]["station/.zarray"] = metadata
    (folder / ".zmetadata").write_text(json.dumps(together))
    (folder / "station" / "0").write_bytes(pickle.dumps(_Touch(tmp_path / "run")))
    with pytest.raises(AccessError, match=r"cannot be read as zarr2.*execute arbitrary code"):
        describe(folder, "zarr2")
    assert not (tmp_path / "run").exists()


# ---- whole stores -----------------------------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(f"sqlite://{tmp_path}/catalog.sqlite")


def sync(catalog: Catalog, root: Path) -> dict[str, str]:
    """Sync without headers; what is quarantined."""
    made = plan(catalog, root, CMIP6)
    commit_sync(catalog, made, {entry.id: {"read": entry.etag} for entry in made.to_describe})
    return {item.key: item.reason for item in made.quarantined}


def test_a_store_with_an_unusable_chunk_is_quarantined_whole(catalog: Catalog, tmp_path: Path) -> None:
    """Without the chunk it would read as fill values."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    secret.write_bytes(b"0" * 100)
    store(root / DRS, FIELD.rename(t2m="tas"))
    other = DRS.replace("r1i1p1f2", "r2i1p1f2")
    shutil.copytree(root / DRS, root / other)
    chunk = root / DRS / "tas" / "0.0.0"
    content = chunk.read_bytes()

    def entries() -> set[str]:
        return {entry.key for entry in catalog.search(dataset="cmip6")}

    def spoil() -> None:
        chunk.unlink(missing_ok=True)
        chunk.symlink_to(secret)

    spoil()
    assert "its tas/0.0.0 cannot be used: it is a link that leads out" in sync(catalog, root)[DRS]  # of everything
    assert entries() == {other}
    assert DRS in sync(catalog, root)
    chunk.unlink()
    chunk.write_bytes(content)
    assert sync(catalog, root) == {}
    assert entries() == {DRS, other}
    spoil()
    assert DRS in sync(catalog, root)  # of what changed
    assert entries() == {other}
    chunk.unlink()
    assert sync(catalog, root) == {}, "a chunk of fill values need not be stored"
    spoil()
    assert DRS in sync(catalog, root), "where no usable object changed"
    assert entries() == {other}


def test_an_object_that_stands_for_a_folder_does_not_spoil_a_store(tmp_path: Path) -> None:
    from tests.support.catalog_helpers import stored
    from xdask_pipelines.catalog.layouts import parse

    names = (".zmetadata", ".zgroup", "tas/", "tas/.zarray", "tas/0.0.0")
    entries, quarantined = parse([stored(f"{DRS}/{name}", size=9 * (name[-1] != "/")) for name in sorted(names)], CMIP6)
    assert [entry.key for entry in entries] == [DRS]
    assert [item.key for item in quarantined] == [f"{DRS}/tas/"]


def test_a_mount_in_a_bucket_is_held_against_its_links_when_headers_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where S3 is listed, nobody has looked for links on the mount."""
    monkeypatch.setenv("XDASK_REGION_DATA", str(tmp_path / "root"))
    written(tmp_path / "secret.nc", FIELD)
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    (tmp_path / "root" / "a" / "b" / "x.nc").symlink_to(tmp_path / "secret.nc")
    written(tmp_path / "root" / "a" / "b" / "y.nc", FIELD)
    from xdask_pipelines.access.describing.validation import Claim

    requests = [HeaderRequest(name, f"a/b/{name}.nc", "a/b", "netcdf4", 0, Claim()) for name in "xy"]
    headers, rejected = describe_at_home(requests)
    assert "leads out of its mount a/b" in rejected["x"]
    assert headers["y"]["mount"] == "a/b"


# ---- keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["/etc/passwd", "../outside", "mount/../../outside", "mount//x", "", "."])
def test_no_key_leads_out_of_its_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("XDASK_REGION_DATA", str(tmp_path / "root"))
    (tmp_path / "root" / "mount").mkdir(parents=True)
    (tmp_path / "root" / "mount" / "kept").write_text("kept")
    (tmp_path / "outside").write_text("outside")
    with pytest.raises(AccessError, match="not a plain path"):
        Location.of(key)
    with pytest.raises(AccessError, match="not a plain path"):
        write_here(FIELD, tmp_path / "outside", key)
    with pytest.raises(AccessError, match="not a plain path"):
        written_lazily(FIELD, EAST, key)
    for keys in ([key], ["mount/kept", key]):
        with pytest.raises(XdaskError, match="nothing was removed"):
            unlink_below(tmp_path / "root", keys)
    assert (tmp_path / "outside").exists()
    assert (tmp_path / "root" / "mount" / "kept").exists()


def test_collecting_results_follows_no_link(tmp_path: Path) -> None:
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    for store in (results / "asset" / "named.zarr", results / "asset" / "old.zarr", elsewhere / "mine.zarr"):
        xr.Dataset().to_zarr(store)
    (results / "linked").symlink_to(elsewhere)
    (results / "asset" / "link.zarr").symlink_to(elsewhere / "mine.zarr")
    found = collect(results, ["results/asset/named.zarr"], grace_seconds=0)
    assert found.removed == ("results/asset/old.zarr",)
    assert (elsewhere / "mine.zarr").is_dir()
