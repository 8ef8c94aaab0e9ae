"""Layouts and folder listings: golden paths, and everything that is not one, quarantined with its reason."""

import os
from pathlib import Path

import pytest

from tests.support.catalog_helpers import CMIP6, ERA5, stored, write
from xdask_pipelines.catalog.layouts import parse
from xdask_pipelines.catalog.manifest.listing import StoredObject, list_folder
from xdask_pipelines.catalog.times import time_key
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.topology.mount import Mount

DRS = "CMIP/MOHC/UKESM1-0-LL/historical/r1i1p1f2/Amon/tas/gn/v20190406"


def store(folder: str, *, metadata: bool = True) -> list[StoredObject]:
    names = [".zattrs", ".zgroup", *([".zmetadata"] if metadata else []), "tas/.zarray", "tas/0.0.0", "tas/1.0.0"]
    return sorted(stored(f"{folder}/{name}", size=5, modified=i) for i, name in enumerate(names))


def reasons(objects: list[StoredObject], mount: Mount) -> dict[str, str]:
    entries, quarantined = parse(objects, mount)
    assert entries == []
    return {item.key: item.reason for item in quarantined}


# --- era5-pds ---------------------------------------------------------------------------------------------------


def test_an_era5_path_says_variable_and_month():
    (entry,), quarantined = parse([stored("era5-pds/2026/03/data/air_temperature_at_2_metres.nc", 42)], ERA5)
    assert quarantined == []
    assert entry.dataset == "era5"
    assert entry.region == "us-east-1"
    assert entry.format == "netcdf4"
    assert entry.variable == "air_temperature_at_2_metres"
    assert entry.facets == {"variable": "air_temperature_at_2_metres", "year": "2026", "month": "03"}
    assert (entry.time_start, entry.time_end) == (time_key(2026, 3), time_key(2026, 4))
    assert (entry.size_bytes, entry.etag, entry.modified_ns, entry.version) == (42, "e", 1, "")


@pytest.mark.parametrize("year", ["0001", "1850", "12000"])
def test_years_from_1_to_12000_are_read(year: str):
    (entry,), _ = parse([stored(f"era5-pds/{year}/12/data/x.nc")], ERA5)
    assert (entry.time_start, entry.time_end) == (time_key(int(year), 12), time_key(int(year) + 1, 1))


def test_a_mount_may_hold_leading_parts_and_era5_months_below_it_are_found():
    part = Mount(dataset="era5", region="us-east-1", layout="era5-pds", path="era5-pds/2026")
    (entry,), _ = parse([stored("era5-pds/2026/03/data/x.nc")], part)
    assert entry.facets["year"] == "2026"


def test_main_nc_is_known_and_left_alone():
    assert parse([stored("era5-pds/2026/03/main.nc")], ERA5) == ([], [])


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("era5-pds/index.html", "its path is not {year}/{month}/data/{variable}.nc"),
        ("era5-pds/backup/2026/03/data/x.nc", "its path is not"),
        ("era5-pds/2026/3/data/x.nc", "its path is not"),
        ("era5-pds/2026/03/data/x y.nc", "its path is not"),
        ("era5-pds/2026/03/data/x\n.nc", "its path is not"),
        ("era5-pds/2026/03/data/x%20y.nc", "its path is not"),
        ("era5-pds/2026/03/data/x.nc.tmp", "its path is not"),
        ("era5-pds/2026/13/data/x.nc", "2026-13 is not a month"),
        ("era5-pds/0000/01/data/x.nc", "0000-01 is not a month"),
        ("era5-pds/2026/03/data/", "an empty object that stands for a folder"),
        ("era5-pds/" + "long/" * 200 + "x.nc", "its path is not"),
    ],
)
def test_other_paths_are_quarantined_with_a_reason(key: str, reason: str):
    assert reason in reasons([stored(key)], ERA5)[key]


def test_an_empty_file_and_one_that_is_excluded_are_quarantined():
    key = "era5-pds/2026/03/data/x.nc"
    assert reasons([stored(key, size=0)], ERA5) == {key: "it is empty"}
    excluding = Mount(dataset="era5", region="r", layout="era5-pds", path="era5-pds", exclude=frozenset({key[9:]}))
    assert reasons([stored(key)], excluding) == {key: "it is on the exclude list"}


def test_licence_and_excerpt_go_into_every_entry():
    mount = Mount(
        dataset="era5",
        region="r",
        layout="era5-pds",
        path="era5-pds",
        excerpt=True,
        attributes={"license": "CC-BY-4.0"},
    )
    (entry,), _ = parse([stored("era5-pds/2026/03/data/x.nc")], mount)
    assert entry.excerpt
    assert entry.attributes == {"license": "CC-BY-4.0"}


# --- cmip6-pds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mount", "folder"),
    [("cmip6", f"cmip6/{DRS}"), ("pds", f"pds/CMIP6/{DRS}"), ("CMIP6/CMIP/MOHC", f"CMIP6/{DRS}")],
)
def test_all_objects_of_a_consolidated_store_make_one_entry(mount: str, folder: str):
    where = Mount(dataset="cmip6", region="us-west-2", layout="cmip6-pds", path=mount)
    (entry,), quarantined = parse(store(folder), where)
    assert quarantined == []
    assert entry.key == folder
    assert entry.facets == {
        "activity_id": "CMIP",
        "institution_id": "MOHC",
        "source_id": "UKESM1-0-LL",
        "experiment_id": "historical",
        "member_id": "r1i1p1f2",
        "table_id": "Amon",
        "variable_id": "tas",
        "grid_label": "gn",
    }
    assert (entry.version, entry.variable, entry.format) == ("v20190406", "tas", "zarr2")
    assert (entry.size_bytes, entry.modified_ns) == (30, 5)
    assert (entry.time_start, entry.time_end) == (None, None), "a path says nothing about time: its header will"


def test_a_store_s_etag_follows_names_and_contents_of_its_objects_and_not_its_place():
    def etag(objects: list[StoredObject]) -> str:
        ((entry,), _) = parse(objects, CMIP6)
        return entry.etag

    base = etag(store(f"cmip6/{DRS}"))
    assert etag(store(f"cmip6/{DRS}1")) == base
    objects = store(f"cmip6/{DRS}")
    changed = [*objects[:-1], stored(objects[-1].key, 5, "other")]
    renamed = [*objects[:-1], stored(objects[-1].key + "0", 5)]
    assert len({base, etag(changed), etag(renamed), etag(objects[:-1])}) == 4


def test_a_store_without_consolidated_metadata_is_one_quarantined_store():
    assert reasons(store(f"cmip6/{DRS}", metadata=False), CMIP6) == {
        f"cmip6/{DRS}": "it is a store without .zmetadata, half-written or not consolidated"
    }


def test_a_store_whose_metadata_is_empty_is_quarantined():
    objects = [stored(o.key, 0 if o.key.endswith(".zmetadata") else 5) for o in store(f"cmip6/{DRS}")]
    assert reasons(objects, CMIP6) == {f"cmip6/{DRS}": "its .zmetadata is empty"}


def test_stores_in_one_another_are_both_quarantined():
    found = reasons(sorted(store(f"cmip6/{DRS}") + store(f"cmip6/{DRS}/inner")), CMIP6)
    assert set(found) == {f"cmip6/{DRS}", f"cmip6/{DRS}/inner"}
    assert "stores lie in one another" in found[f"cmip6/{DRS}"]


def test_one_bad_store_does_not_touch_its_neighbours():
    other = DRS.replace("r1i1p1f2", "r2i1p1f2")
    objects = sorted([*store(f"cmip6/{DRS}"), *store(f"cmip6/{other}", metadata=False), stored("cmip6/stray.txt")])
    entries, quarantined = parse(objects, CMIP6)
    assert [entry.key for entry in entries] == [f"cmip6/{DRS}"]
    assert [item.key for item in quarantined] == [f"cmip6/{other}", "cmip6/stray.txt"]
    assert quarantined[1].reason == "it belongs to no Zarr store"


def test_folder_markers_are_quarantined_and_do_not_count_for_the_store():
    plain = store(f"cmip6/{DRS}")
    (with_marker,), quarantined = parse([stored(f"cmip6/{DRS}/", 0), *plain], CMIP6)
    ((without,), _) = parse(plain, CMIP6)
    assert with_marker == without
    assert [item.reason for item in quarantined] == ["it is an empty object that stands for a folder"]


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("cmip6/too/short/v1", "its path is not [CMIP6/]{activity_id}"),
        (f"cmip6/extra/{DRS}", "its path is not [CMIP6/]{activity_id}"),
        (f"cmip6/CMIP6/CMIP6/{DRS}", "its path is not [CMIP6/]{activity_id}"),
        (f"cmip6/{DRS}".replace("v20190406", "latest"), "'latest' is not a version such as v20190815"),
    ],
)
def test_stores_in_other_places_are_quarantined_with_a_reason(folder: str, reason: str):
    assert reason in reasons(store(folder), CMIP6)[folder]


# --- folder listings --------------------------------------------------------------------------------------------


def test_a_folder_is_listed_sorted_with_digests_of_contents(tmp_path: Path):
    for name in ("b.nc", "a/z.nc", "a.nc", "odd\nname.nc", "sp ace%20.nc", "ü.nc"):
        write(tmp_path, f"mount/{name}", name.encode())
    found = list_folder(tmp_path, "mount", {})
    assert [item.key for item in found] == sorted(item.key for item in found)
    assert {item.key for item in found} == {
        "mount/b.nc", "mount/a/z.nc", "mount/a.nc", "mount/odd\nname.nc", "mount/sp ace%20.nc", "mount/ü.nc",
    }  # fmt: skip
    assert len({item.etag for item in found}) == 6
    assert all(len(item.etag) == 32 and not item.problem for item in found)


def test_a_missing_mount_is_an_error_and_not_an_empty_dataset(tmp_path: Path):
    with pytest.raises(CatalogError, match=r"mount mount cannot be listed, because the folder .*mount does not exist"):
        list_folder(tmp_path, "mount", {})
    write(tmp_path, "mount", b"a file")
    with pytest.raises(CatalogError, match="because the folder"):
        list_folder(tmp_path, "mount", {})


def test_digests_are_computed_only_where_size_or_time_changed(tmp_path: Path):
    path = write(tmp_path, "mount/a.nc", b"one")
    (first,) = list_folder(tmp_path, "mount", {})
    pretended = StoredObject(first.key, first.size_bytes, "kept", first.modified_ns)
    assert list_folder(tmp_path, "mount", {first.key: pretended}) == [pretended]
    path.write_bytes(b"two")
    os.utime(path, ns=(0, first.modified_ns + 1))
    (second,) = list_folder(tmp_path, "mount", {first.key: pretended})
    assert second.etag not in ("kept", first.etag)


def test_a_name_that_is_not_utf_8_is_a_problem_of_that_file_only(tmp_path: Path):
    write(tmp_path, "era5-pds/2026/03/data/x.nc")
    bad = os.fsencode(tmp_path) + b"/era5-pds/2026/03/data/\xff.nc"
    with open(bad, "wb") as file:  # noqa: PTH123
        file.write(b"x")
    entries, quarantined = parse(list_folder(tmp_path, "era5-pds", {}), ERA5)
    assert len(entries) == 1
    assert [(item.key, item.reason) for item in quarantined] == [
        ("era5-pds/2026/03/data/\\xff.nc", "its name is not UTF-8; rename it")
    ]


def test_links_inside_the_mount_are_followed_and_those_that_lead_out_are_not(tmp_path: Path):
    write(tmp_path, "elsewhere/secret.nc")
    write(tmp_path, "elsewhere/folder/x.nc")
    write(tmp_path, "mount/real.nc")
    for name, target in (
        ("inside.nc", tmp_path / "mount/real.nc"),
        ("outside.nc", tmp_path / "elsewhere/secret.nc"),
        ("folder", tmp_path / "elsewhere/folder"),
        ("loop", tmp_path / "mount"),
        ("broken.nc", tmp_path / "mount/nothing"),
    ):
        (tmp_path / "mount" / name).symlink_to(target)
    os.mkfifo(tmp_path / "mount" / "pipe")
    found = {item.key.removeprefix("mount/"): item for item in list_folder(tmp_path, "mount", {})}
    assert found["inside.nc"].etag == found["real.nc"].etag
    assert "link that leads out" in found["outside.nc"].problem
    assert "link that leads out" in found["folder"].problem
    assert "link to a folder" in found["loop"].problem
    assert "link to nothing" in found["broken.nc"].problem
    assert "not a file" in found["pipe"].problem


def test_the_mount_itself_may_be_a_link_to_another_disk(tmp_path: Path):
    write(tmp_path, "disk/2026/03/data/x.nc")
    (tmp_path / "era5-pds").symlink_to(tmp_path / "disk")
    assert [item.key for item in list_folder(tmp_path, "era5-pds", {})] == ["era5-pds/2026/03/data/x.nc"]
