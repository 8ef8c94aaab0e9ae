"""Sound data of many kinds are opened as they are: text, classic files, native grids, groups that are refused as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from tests.support.access_helpers import described
from tests.support.netcdf_files import axes, field, times, written
from tests.support.places import EAST, Cluster
from xdask_pipelines.access import open_entries
from xdask_pipelines.access.coordinates import MAX_COORDINATE_BYTES
from xdask_pipelines.access.header import describe
from xdask_pipelines.assets.source import opened_field
from xdask_pipelines.errors import AccessError
from xdask_pipelines.placement import compute
from xdask_pipelines.placement.graph.homes import homes_of


def _opened(
    cluster: Cluster, key: str, dataset: xr.Dataset, file_format: str = "netcdf4", **options: Any
) -> xr.Dataset:
    written(cluster.data[EAST] / key, dataset, **options)
    return open_entries(described(cluster.client, EAST, key, file_format=file_format))


LABELS = np.array(["r1i1p1f1", "r2i1p1f1-ä"], dtype=object)


@pytest.mark.parametrize(
    ("key", "file_format", "options"),
    [
        ("text/a.nc", "netcdf4", {}),
        ("text/h5.nc", "netcdf4", {"engine": "netcdf4"}),
        ("text/classic.nc", "netcdf4", {"format": "NETCDF3_64BIT"}),
        ("text/v2.zarr", "zarr2", {"zarr_format": 2}),
        ("text/v3.zarr", "zarr3", {"zarr_format": 3}),
    ],
)
def test_text_is_a_coordinate_in_every_format(
    cluster: Cluster, key: str, file_format: str, options: dict[str, Any]
) -> None:
    made = field([1, 2], "tas").rename(time="member_id").drop_vars("member_id")
    made = made.assign_coords(member_id=("member_id", LABELS), station=("member_id", np.array(["Kew", "Ayr"], object)))
    made = made.assign(expver=("member_id", np.array(["0001", "0005"], object)))
    opened = _opened(cluster, key, made, file_format, **options)
    assert list(opened.data_vars) == ["tas"]
    assert opened.member_id.values.tolist() == list(LABELS)
    assert opened.station.values.tolist() == ["Kew", "Ayr"]
    assert opened.expver.values.tolist() == ["0001", "0005"]
    (got,), _ = compute(cluster.client, opened.tas.sel(member_id="r2i1p1f1-ä"))
    assert (got == 2).all()


def test_characters_of_fixed_strings_are_joined(cluster: Cluster) -> None:
    path = cluster.data[EAST] / "text/char.nc"
    path.parent.mkdir(exist_ok=True)
    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        file.createDimension("station", 2)
        file.createDimension("length", 5)
        file.createVariable("station", "S1", ("station", "length"))[:] = netCDF4.stringtochar(
            np.array([b"Kew", b"Lewes"])
        )
        file.createVariable("t", "f4", ("station",))[:] = [1, 2]
    opened = open_entries(described(cluster.client, EAST, "text/char.nc"))
    assert opened.t.dims == ("station",)
    assert opened.station.values.tolist() == ["Kew", "Lewes"]


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_netcdf_classic_is_read_as_xarray_reads_it(cluster: Cluster, kind: str) -> None:
    made = field(np.arange(30), time=times(np.arange(30.0), "days since 2001-01-01"))
    made["t2m"].encoding |= {"dtype": "i2", "scale_factor": 0.5, "add_offset": 3.0, "_FillValue": -99}
    made["t2m"][3, 2, 1] = np.nan
    made.encoding["unlimited_dims"] = {"time"}
    opened = _opened(cluster, f"classic/{kind}.nc", made, engine="netcdf4", format=kind)
    (got,), evidence = compute(cluster.client, opened.isel(time=slice(2, 20)))
    with xr.open_dataset(cluster.data[EAST] / f"classic/{kind}.nc", engine="netcdf4") as expected:
        np.testing.assert_array_equal(got.t2m, expected.t2m[2:20])
    assert np.isnan(got.t2m[1, 2, 1])
    assert evidence.bytes_read_by_region[EAST] >= 18 * 18 * 36 * 2


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("unlimited", [True, False])
def test_a_truncated_classic_file_is_not_read_as_zeros(tmp_path: Path, kind: str, unlimited: bool) -> None:
    made = field(np.arange(30), time=times(np.arange(30.0), "days since 2001-01-01"))
    made.encoding["unlimited_dims"] = {"time"} if unlimited else set()
    path = written(tmp_path / "a.nc", made, engine="netcdf4", format=kind)
    whole = path.read_bytes()
    assert describe(path, "netcdf4")["steps"]["found"] == 30
    for size in (len(whole) - 8, int(len(whole) * 0.6), 40):
        path.write_bytes(whole[:size])
        with pytest.raises(AccessError, match=r"a.nc cannot be read as netcdf4 .*truncated"):
            describe(path, "netcdf4")


def _ocean(ny: int, nx: int) -> xr.Dataset:
    lat = np.linspace(-75, 85, ny)[:, None] + np.zeros(nx)
    lon = np.zeros((ny, 1)) + np.linspace(0, 360, nx, endpoint=False)
    lat[0, 0] = np.nan
    made = xr.Dataset(
        {
            "tos": (
                ("time", "j", "i"),
                np.full((3, ny, nx), 290, "f4"),
                {"units": "K", "coordinates": "latitude longitude"},
            )
        },
        {"time": times([15.5, 45, 74.5], "days since 2001-01-01", "noleap")},
    )
    for name, values, units in (("latitude", lat, "degrees_north"), ("longitude", lon, "degrees_east")):
        attrs = {"standard_name": name, "units": units, "bounds": f"vertices_{name}"}
        made[name] = (("j", "i"), values, attrs)
        made[f"vertices_{name}"] = (("j", "i", "vertices"), np.repeat(values[..., None], 4, -1))
    return made


@pytest.mark.parametrize("shape", [(12, 20), (400, 500)])
def test_a_native_ocean_grid_opens_as_one_array_with_its_places(cluster: Cluster, shape: tuple[int, int]) -> None:
    key = f"ocean/{shape[0]}.zarr"
    made = _ocean(*shape)
    written(cluster.data[EAST] / key, made)
    (entry,) = described(cluster.client, EAST, key, file_format="zarr2")
    assert entry.header is not None
    assert entry.header["extent"] == pytest.approx([-180.0, -75.0, 180.0, 85.0], abs=8)
    tos = opened_field([_Excerpt(entry)])
    assert isinstance(tos, xr.DataArray)
    assert set(tos.coords) == {"time", "latitude", "longitude"}
    assert homes_of(tos) == {EAST}
    (got,), _ = compute(cluster.client, tos)
    np.testing.assert_array_equal(got.latitude, made.latitude)
    is_large = made.latitude.nbytes > MAX_COORDINATE_BYTES
    assert (tos.latitude.chunks is not None) == is_large


class _Excerpt:
    """An entry of a dataset that is whole."""

    excerpt, time_start, time_end = False, None, None

    def __init__(self, entry: Any) -> None:
        self.__dict__.update(vars(entry))


def test_coordinates_named_by_attributes_are_no_data(tmp_path: Path) -> None:
    made = _ocean(4, 5).rename(latitude="nav_lat", longitude="nav_lon")
    made["tos"].attrs["coordinates"] = "nav_lat nav_lon depth"
    made["depth"] = (("j", "i"), np.ones((4, 5)))
    made["areacello"] = (("j", "i"), np.ones((4, 5)))
    made["tos"].attrs["cell_measures"] = "area: areacello"
    for name in ("nav_lat", "nav_lon"):
        made[name].attrs.pop("standard_name")
    header = describe(written(tmp_path / "a.zarr", made.drop_encoding()), "zarr2")
    assert list(header["variables"]) == ["tos"]


def test_a_file_of_groups_is_refused_as_such(tmp_path: Path) -> None:
    for engine, path in (("netcdf4", tmp_path / "a.nc"), ("zarr2", tmp_path / "a.zarr")):
        tree = xr.DataTree.from_dict({"/forecast": field([1]), "/truth": field([2])})
        if engine == "zarr2":
            tree.to_zarr(path, zarr_format=2)
        else:
            tree.to_netcdf(path)
        with pytest.raises(AccessError, match=r"has no data variable at its root, but groups \(forecast, truth\)"):
            describe(path, engine)


def test_what_is_no_netcdf_file_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(b"<!DOCTYPE html><title>Forbidden</title>")
    with pytest.raises(AccessError, match=r"a.nc is not a netCDF file: it starts with b'<!DOCTYPE html><'"):
        describe(tmp_path / "a.nc", "netcdf4")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill", [1e20, -9999.0, np.nan])
def test_fill_values_of_floats_are_missing_in_both_formats(cluster: Cluster, zarr_format: int, fill: float) -> None:
    made = field([290, 291])
    made["t2m"][:, :3] = np.nan
    made["t2m"].encoding["_FillValue"] = np.float32(fill)
    key = f"fill/{zarr_format}{fill}.zarr"
    opened = _opened(cluster, key, made, f"zarr{zarr_format}", zarr_format=zarr_format)
    (got,), _ = compute(cluster.client, opened.t2m)
    assert int(got.isnull().sum()) == 2 * 3 * 36
    assert float(got.max()) == 291


def test_attributes_of_any_kind_become_plain_text_and_numbers(tmp_path: Path) -> None:
    made = field([1])
    made["t2m"].attrs |= {"flag_values": np.array([1.0, np.nan]), "n": np.int64(3), "empty": np.array([], "f4")}
    with netCDF4.Dataset(written(tmp_path / "a.nc", made), "a") as file:
        file.odd = b"\xff\xfe".decode("latin-1")
    header = describe(tmp_path / "a.nc", "netcdf4")
    assert header["variables"]["t2m"]["attrs"]["flag_values"] == [1.0, {"float": "nan"}]
    assert header["variables"]["t2m"]["attrs"]["n"] == 3
    assert header["variables"]["t2m"]["attrs"]["empty"] == []


def test_a_variable_that_the_path_names_is_the_one_that_is_opened(cluster: Cluster) -> None:
    made = field([1, 2]).assign(d2m=field([3, 4]).t2m)
    written(cluster.data[EAST] / "named.nc", made)
    (entry,) = described(cluster.client, EAST, "named.nc")
    assert entry.header is not None
    assert set(open_entries([entry]).data_vars) == {"t2m", "d2m"}
    named = type(entry)(**{**vars(entry), "header": {**entry.header, "variable": "d2m"}})
    assert list(open_entries([named]).data_vars) == ["d2m"]
    assert set(axes()) <= set(open_entries([named]).coords)


def test_bounds_of_a_long_axis_stay_with_it_and_too_irregular_ones_are_left_in_the_file(cluster: Cluster) -> None:
    steps = np.arange(120_000)
    bounds = np.stack([steps / 8, (steps + 1) / 8], 1)
    assert bounds.nbytes > MAX_COORDINATE_BYTES
    made = xr.Dataset(
        {"t": ("time", np.zeros(steps.size, "f4")), "time_bnds": (("time", "bnds"), bounds)},
        {"time": ("time", bounds.mean(axis=1), {"units": "days since 1850-01-01", "bounds": "time_bnds"})},
    )
    opened = _opened(cluster, "long/regular.zarr", made, "zarr2")
    assert opened.time_bnds.chunks is None
    noise = np.random.default_rng(0).random((steps.size, 2))
    other = made.rename(time_bnds="odd").assign(odd=(("time", "bnds"), noise))
    other["time"].attrs["bounds"] = "odd"
    header = describe(written(cluster.data[EAST] / "long/odd.zarr", other.assign_attrs(coordinates="odd")), "zarr2")
    assert header["variables"]["odd"]["coordinate"]
