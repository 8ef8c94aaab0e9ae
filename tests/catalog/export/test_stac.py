"""The catalog as a static STAC catalog: what it says of place, time and content, and that it is whole or not there."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
import xarray as xr

from tests.support.catalog_helpers import cmip6, era5
from tests.support.grib_files import message, write_grib
from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.header import describe
from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.export.stac import export_stac
from xdask_pipelines.catalog.layouts import parse
from xdask_pipelines.catalog.manifest.listing import list_folder
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month
from xdask_pipelines.topology.mount import Mount


def address(entry: Entry) -> str:
    return f"s3://bucket/{entry.key}"


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pystac.Catalog]:
    """Exports entries where nothing can be fetched, and reads them back."""

    def refused(*args: Any) -> None:
        raise AssertionError(f"something was to be fetched: {args}")

    def make(*entries: Entry) -> pystac.Catalog:
        with monkeypatch.context() as offline:
            offline.setattr(socket.socket, "connect", refused)
            offline.setattr(socket, "getaddrinfo", refused)
            export_stac(sorted(entries, key=lambda e: (e.dataset, e.key)), address, unpack, tmp_path / "stac")
            found = pystac.Catalog.from_file(str(tmp_path / "stac" / "catalog.json"))
            for each in (found, *found.get_children(), *found.get_items(recursive=True)):
                document = each.to_dict()
                pystac.validation.validate_dict(document, extensions=[])
        return found

    return make


def only(found: pystac.Catalog) -> pystac.Item:
    (item,) = found.get_items(recursive=True)
    return item


def described(folder: Path, layout: str, **more: Any) -> list[Entry]:
    """Entries of a folder with their headers, as a sync makes them."""
    mount = Mount(dataset=layout, region="us-west-2", layout=layout, path=layout, **more)
    entries, refused = parse(list_folder(folder, layout, {}), mount)
    assert not refused
    return [e.with_header(describe(folder / e.key, e.format)) for e in entries]


def test_entries_of_all_layouts_pass_the_schemas_and_nothing_is_fetched(tmp_path: Path, export):
    write_era5_month(tmp_path / "era5-pds", 2011, 1, shape=(5, 8), hours=24, chunks=(24, 5, 8))
    write_cmip6_member(tmp_path / "cmip6-pds", shape=(6, 8), calendar="360_day")
    (file,) = (tmp_path / "era5-pds").rglob("*.nc")
    field = xr.open_dataset(file).load()
    ncar = tmp_path / "ncar-era5/e5.oper.an.sfc/201101/e5.oper.an.sfc.128_167_2t.ll025sc.2011010100_2011010123.nc"
    own = tmp_path / "generic/ukesm/tas_201101.nc"
    for path in (ncar, own):
        path.parent.mkdir(parents=True)
        field.to_netcdf(path)
    cube = field.expand_dims(plev=[85000.0, 50000.0])
    cube.plev.attrs.update(units="Pa", positive="down")
    cube.drop_encoding().to_zarr(tmp_path / "arco-zarr/deep/a.zarr", zarr_format=3, consolidated=False)
    (tmp_path / "grib").mkdir()
    write_grib(tmp_path / "grib/a.grib2", *(message(dataTime=hour) for hour in (0, 600)))
    entries = [
        e for layout in ("arco-zarr", "cmip6-pds", "era5-pds", "grib", "ncar-era5") for e in described(tmp_path, layout)
    ]
    entries += described(tmp_path, "generic", pattern="{model}/{variable}_{year}{month}.nc")
    found = export(*entries)
    items = {item.collection_id: item for item in found.get_items(recursive=True)}
    assert sorted(items) == ["arco-zarr", "cmip6-pds", "era5-pds", "generic", "grib", "ncar-era5"]
    media = {name: item.assets["data"].media_type for name, item in items.items()}
    assert media["arco-zarr"] == "application/vnd.zarr; version=3"
    assert media["cmip6-pds"] == "application/vnd.zarr; version=2"
    assert media["ncar-era5"] == "application/netcdf"
    assert media["grib"] == "application/wmo-GRIB2"
    for item in items.values():
        asset = item.assets["data"]
        assert asset.href.startswith("s3://bucket/")
        assert asset.roles == ["data"]
        assert asset.extra_fields["file:size"] > 0
        assert item.properties["xdask:region"] == "us-west-2"
        assert len(item.properties["xdask:etag"]) == 32
    levels = items["arco-zarr"].properties["cube:dimensions"]["plev"]
    assert (levels["axis"], levels["values"], levels["unit"]) == ("z", [85000.0, 50000.0], "Pa")
    model = items["cmip6-pds"].properties
    assert (model["cmip6:source_id"], model["cmip6:version"]) == ("UKESM1-0-LL", "v20190507")
    assert model["cube:variables"]["tas"]["dimensions"] == ["time", "lat", "lon"]
    assert model["cube:dimensions"]["lon"]["extent"] == [-180, 180]
    assert model["cube:dimensions"]["time"]["extent"] == ["2015-01-01T00:00:00Z", "2016-12-31T23:59:59Z"]
    assert model["xdask:time_range"] == {
        "start": "2015-01-01T00:00:00",
        "before": "2017-01-01T00:00:00",
        "calendar": "360_day",
    }


@pytest.mark.parametrize(
    ("start", "before", "said"),
    [
        (20110101000000, 20110201000000, ["2011-01-01T00:00:00Z", "2011-01-31T23:59:59Z"]),
        (20150216000000, 20150230120000, ["2015-02-16T00:00:00Z", "2015-02-28T23:59:59Z"]),
        (20150230000000, 20150301000000, ["2015-02-28T23:59:59Z", "2015-02-28T23:59:59Z"]),
        (20150229000000, 20150230000000, ["2015-02-28T23:59:59Z", "2015-02-28T23:59:59Z"]),
        (10101000000, 20101000000, ["0001-01-01T00:00:00Z", "0001-12-31T23:59:59Z"]),
        (99990101000000, 120000101000000, ["9999-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]),
        (120000230000000, 120010101000000, ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"]),
        (20110101000000, 20110101000001, ["2011-01-01T00:00:00Z", "2011-01-01T00:00:00Z"]),
    ],
)
def test_times_that_rfc_3339_cannot_say_are_clamped_and_kept_beside(start, before, said, export):
    properties = only(export(cmip6(time_start=start, time_end=before))).properties
    assert [properties["start_datetime"], properties["end_datetime"]] == said
    assert properties["datetime"] is None
    digits = [text.translate(str.maketrans("", "", "-T:")) for text in properties["xdask:time_range"].values()]
    assert list(map(int, digits)) == [start, before]


def test_data_without_time_are_found_by_every_search_by_time(export):
    mask = cmip6(header={"attrs": {}, "coords": {}, "variables": {}})
    for entry, word in ((mask, "none"), (cmip6(), "unknown")):
        item = only(export(entry))
        assert item.properties["start_datetime"] == "0001-01-01T00:00:00Z"
        assert item.properties["end_datetime"] == "9999-12-31T23:59:59Z"
        assert item.properties["xdask:time"] == word
        assert "xdask:time_range" not in item.properties
        (interval,) = item.get_collection().extent.temporal.intervals
        assert interval == [None, None], "what nobody knows is no end"


def test_what_crosses_180_degrees_is_cut_there(export):
    item = only(export(era5("2011-01", extent=(170, -10, 190, 10))))
    assert item.bbox == [170, -10, -170, 10]
    east, west = item.geometry["coordinates"]
    assert (east[0][0], east[0][1]) == ([170, -10], [180, -10])
    assert (west[0][0], west[0][1]) == ([-180, -10], [-170, -10])
    assert item.get_collection().extent.spatial.bboxes == [[170, -10, -170, 10]]


def test_a_place_that_is_not_known_is_not_made_up(export):
    item = only(export(era5("2011-01")))
    assert item.geometry is None
    assert item.bbox is None
    assert "bbox" not in item.to_dict()


@pytest.mark.parametrize(
    ("extents", "box"),
    [
        ([(10, 0, 20, 5), (40, -5, 50, 1)], [10, -5, 50, 5]),
        ([(170, 0, 175, 5), (-175, 0, -170, 5)], [170, 0, -170, 5]),
        ([(100, 0, 300, 5), (-70, 0, 110, 5)], [-180, 0, 180, 5]),
        ([(-180, -90, 180, 90), (3, 3, 3, 3)], [-180, -90, 180, 90]),
        ([(7, 50, 7, 50)], [7, 50, 7, 50]),
    ],
)
def test_a_collection_lies_in_the_smallest_box_around_its_items(extents, box, export):
    found = export(*(era5(f"2011-{i:02}", extent=extent) for i, extent in enumerate(extents, 1)))
    (collection,) = found.get_children()
    assert collection.extent.spatial.bboxes == [box]


def test_a_collection_sums_up_facets_licence_and_providers(export):
    said = {"license": "OGL-UK-3.0", "attribution": "Met Office"}
    found = export(*(cmip6(m, x, attributes=said) for m in ("r1i1p1f1", "r2i1p1f1") for x in ("ssp245", "ssp585")))
    (collection,) = found.get_children()
    assert collection.license == "OGL-UK-3.0"
    assert [p.name for p in collection.providers] == ["MOHC", "Met Office"]
    assert collection.summaries.get_list("cmip6:experiment_id") == ["ssp245", "ssp585"]
    assert len(list(collection.get_items())) == 4


def test_an_export_replaces_an_export_and_nothing_else(tmp_path: Path, export):
    export(cmip6(), era5("2011-01"))
    assert [item.id for item in export(era5("2011-02")).get_items(recursive=True)] == [era5("2011-02").id]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stac"], "nothing is left beside it"
    (tmp_path / "stac" / "notes.txt").write_text("mine")
    with pytest.raises(CatalogError, match=r"contains notes\.txt in addition to an export"):
        export(era5("2011-03"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(CatalogError, match="is not a STAC export"):
        export_stac([era5("2011-01")], address, unpack, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_an_export_that_fails_leaves_the_one_before(tmp_path: Path, export):
    export(era5("2011-01"))
    half = cmip6(facets={**cmip6().facets, "realm": "atmos"})
    with pytest.raises(CatalogError, match=r"cannot be represented in STAC.*Nothing was written"):
        export(era5("2011-02"), half)
    left = json.loads((tmp_path / "stac" / "catalog.json").read_text())
    assert [link["href"] for link in left["links"] if link["rel"] == "child"] == ["./era5/collection.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stac"]
    with pytest.raises(CatalogError, match="No entries to export"):
        export()
