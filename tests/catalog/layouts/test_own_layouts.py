"""Layouts beside the two of the demo: golden paths of each, and everything that is not one, with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.catalog_helpers import CMIP6, ERA5, stored
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.layouts import parse
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.catalog.times import time_key
from xdask_pipelines.errors import TopologyError
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.mount import Mount

NCAR = Mount(dataset="ncar", region="us-west-2", layout="ncar-era5", path="nsf-ncar-era5")
CUBES = Mount(dataset="cubes", region="us-west-2", layout="arco-zarr", path="cubes")
GRIB = Mount(dataset="grib", region="us-west-2", layout="grib", path="grib")
OWN = Mount(
    dataset="own",
    region="us-west-2",
    layout="generic",
    path="own",
    pattern="{model}/{year}/{variable}_{year}{month}.nc",
)


def one(mount: Mount, *objects: StoredObject) -> Entry:
    (entry,), quarantined = parse(objects, mount)
    assert quarantined == []
    return entry


def reasons(mount: Mount, *objects: StoredObject) -> dict[str, str]:
    entries, quarantined = parse(sorted(objects), mount)
    assert entries == []
    return {item.key: item.reason for item in quarantined}


# --- ncar-era5 --------------------------------------------------------------------------------------------------


def ncar(path: str) -> StoredObject:
    collection, month, rest = path.split("/")
    return stored(f"nsf-ncar-era5/{collection}/{month}/{collection}.{rest}", 42)


@pytest.mark.parametrize(
    ("path", "facets", "times"),
    [
        (
            "e5.oper.an.sfc/202001/128_167_2t.ll025sc.2020010100_2020013123.nc",
            {
                "product": "an",
                "level_type": "sfc",
                "parameter_table": "128",
                "parameter_code": "167",
                "short_name": "2t",
            },
            (time_key(2020, 1), time_key(2020, 2)),
        ),
        (
            "e5.oper.an.pl/202002/128_131_u.ll025uv.2020022900_2020022923.nc",
            {"level_type": "pl", "grid": "ll025uv", "parameter_code": "131"},
            (time_key(2020, 2, 29), time_key(2020, 3)),
        ),
        (
            "e5.oper.an.vinteg/202012/162_071_viwve.ll025sc.2020120100_2020123123.nc",
            {"level_type": "vinteg", "parameter_table": "162", "short_name": "viwve"},
            (time_key(2020, 12), time_key(2021)),
        ),
        (
            "e5.oper.fc.sfc.accumu/201901/128_176_ssr.ll025sc.2019011606_2019020106.nc",
            {"product": "fc", "level_type": "sfc", "step_type": "accumu"},
            (time_key(2019, 1, 16, 7), time_key(2019, 2, 1, 7)),
        ),
        (
            "e5.oper.fc.sfc.minmax/201901/128_049_10fg.ll025sc.2019010106_2019011606.nc",
            {"step_type": "minmax", "short_name": "10fg"},
            (time_key(2019, 1, 1, 7), time_key(2019, 1, 16, 7)),
        ),
        (
            "e5.oper.invariant/197901/128_129_z.ll025sc.1979010100_1979010100.nc",
            {"product": "invariant", "short_name": "z"},
            (None, None),
        ),
    ],
)
def test_an_ncar_path_says_product_parameter_grid_and_time(path: str, facets: dict[str, str], times: tuple[int, int]):
    entry = one(NCAR, ncar(path))
    assert facets.items() <= entry.facets.items()
    assert entry.facets["stream"] == "e5.oper"
    assert entry.facets["collection"] == path.split("/")[0]
    assert entry.variable == entry.facets["short_name"]
    assert (entry.time_start, entry.time_end) == times
    assert (entry.format, entry.size_bytes) == ("netcdf4", 42)


def test_grib_files_of_ncar_are_known_and_halves_of_a_month_follow_one_another():
    assert one(NCAR, ncar("e5.oper.an.sfc/202001/128_167_2t.ll025sc.2020010100_2020013123.grb")).format == "grib"
    hours = ("2019010106_2019011606", "2019011606_2019020106")
    halves, _ = parse([ncar(f"e5.oper.fc.sfc.accumu/201901/128_142_lsp.ll025sc.{h}.nc") for h in hours], NCAR)
    assert halves[0].time_end == halves[1].time_start


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("nsf-ncar-era5/index.html", "its path is not {collection}/{yyyymm}/{collection}"),
        (ncar("e5.oper.an.sfc/202001/128_167_2t.ll025sc.2020010100_20200131.nc").key, "its path is not"),
        (ncar("e5.oper.an.sfc/202001/128_167_2t.ll025sc.2020010100_2020013124.nc").key, "is not a range of hours"),
        (ncar("e5.oper.an.sfc/202002/128_167_2t.ll025sc.2020023000_2020023023.nc").key, "is not a range of hours"),
        (ncar("e5.oper.an.sfc/202001/128_167_2t.ll025sc.2020013123_2020010100.nc").key, "is not a range of hours"),
        (ncar("e5.oper.an.sfc/999912/128_167_2t.ll025sc.9999123100_9999123123.nc").key, "is not a range of hours"),
        (ncar("e5.oper.an.sfc/202002/128_167_2t.ll025sc.2020010100_2020013123.nc").key, "in the folder of 202002"),
        ("nsf-ncar-era5/e5.oper.an.pl/202001/e5.oper.an.sfc.128_167_2t.ll025sc.2020010100_2020013123.nc", "is not"),
        (
            "nsf-ncar-era5/old/e5.oper.an.sfc/202001/e5.oper.an.sfc.128_167_2t.ll025sc.2020010100_2020013123.nc",
            "is not",
        ),
    ],
)
def test_other_paths_are_no_ncar_files(key: str, reason: str):
    assert reason in reasons(NCAR, stored(key))[key]


def test_an_empty_ncar_file_is_quarantined_and_the_year_1_is_read():
    item = ncar("e5.oper.an.sfc/000101/128_167_2t.ll025sc.0001010100_0001013123.nc")
    assert one(NCAR, item).time_end == time_key(1, 2)
    assert reasons(NCAR, replace(item, size_bytes=0)) == {item.key: "it is empty"}


# --- arco-zarr --------------------------------------------------------------------------------------------------


def v2(folder: str) -> list[StoredObject]:
    names = [".zattrs", ".zgroup", ".zmetadata", "t2m/.zarray", "t2m/0.0.0", "t2m/1.0.0", "msl/.zarray", "msl/0.0.0"]
    return sorted(stored(f"{folder}/{name}", 5, modified=i) for i, name in enumerate(names))


def v3(folder: str) -> list[StoredObject]:
    names = [
        "zarr.json",
        "t2m/zarr.json",
        "t2m/c/0/0/0",
        "t2m/c/1/0/0",
        "inner/zarr.json",
        "inner/x/zarr.json",
        "inner/x/c",
    ]
    return sorted(stored(f"{folder}/{name}", 5, modified=i) for i, name in enumerate(names))  # fmt: skip


@pytest.mark.parametrize(("make", "kind"), [(v2, "zarr2"), (v3, "zarr3")])
@pytest.mark.parametrize(
    ("folder", "mount", "store", "variable"),
    [
        ("cubes/era5.zarr", "cubes", "era5.zarr", "era5"),
        ("cubes/a/b c%20\n/full_37", "cubes", "a/b c%20\n/full_37", "full_37"),
        ("cubes/era5.zarr", "cubes/era5.zarr", "era5.zarr", "era5"),
        ("cubes/.zarr", "cubes", ".zarr", ".zarr"),
    ],
)
def test_a_cube_is_one_entry_however_many_variables_and_chunks(
    make, kind: str, folder: str, mount: str, store: str, variable: str
):
    objects = make(folder)
    entry = one(replace(CUBES, path=mount), *objects)
    assert (entry.key, entry.format, entry.variable, entry.facets) == (folder, kind, variable, {"store": store})
    assert (entry.size_bytes, entry.modified_ns) == (5 * len(objects), len(objects) - 1)
    changed = one(replace(CUBES, path=mount), *objects[:-1], replace(objects[-1], etag="other"))
    assert changed.etag != entry.etag


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([o for o in v2("cubes/a") if "zmetadata" not in o.key], {"cubes/a": "without .zmetadata, half-written"}),
        ([o for o in v2("cubes/a") if "/.zm" not in o.key and "/.zg" not in o.key and "/.zatt" not in o.key],
         {"cubes/a/msl": "half-written", "cubes/a/t2m": "half-written"}),
        ([o for o in v3("cubes/a") if o.key != "cubes/a/zarr.json"],
         {"cubes/a/t2m": "the zarr.json of a store above it is missing"}),
        ([*(o for o in v3("cubes/a") if o.key != "cubes/a/zarr.json"), stored("cubes/a/zarr.json", 0)],
         {"cubes/a": "its zarr.json is empty"}),
        ([*v2("cubes/a"), stored("cubes/a/zarr.json")], {"cubes/a": "metadata of Zarr v2 (.zmetadata) and v3 (zarr.json)"}),
        ([stored("cubes/a/zarr.json")], {"cubes/a": "a single array or an empty group"}),
        ([*v3("cubes/a"), *v3("cubes/a/t2m/c/9/b")], {"cubes/a": "in one another", "cubes/a/t2m/c/9/b": "in one another"}),
        ([*v2("cubes/a"), *v3("cubes/a/b")], {"cubes/a": "in one another", "cubes/a/b": "in one another"}),
        ([*v3("cubes/a"), *v2("cubes/a/b")], {"cubes/a": "in one another", "cubes/a/b": "in one another"}),
        ([stored("cubes/notes.txt")], {"cubes/notes.txt": "it belongs to no Zarr store"}),
        ([stored("cubes/a/", 0)], {"cubes/a/": "an empty object that stands for a folder"}),
    ],
)  # fmt: skip
def test_stores_that_are_not_whole_or_not_one_are_quarantined(objects: list[StoredObject], expected: dict[str, str]):
    entries, quarantined = parse(sorted(objects), CUBES)
    found = {item.key: item.reason for item in quarantined}
    for key, reason in expected.items():
        assert reason in found[key], found
    assert not {entry.key for entry in entries} & expected.keys()


def test_a_cube_beside_a_half_written_one_is_catalogued():
    entries, quarantined = parse(sorted([*v3("cubes/good"), *v2("cubes/bad")[1:2], *v2("cubes/also")]), CUBES)
    assert [entry.key for entry in entries] == ["cubes/also", "cubes/good"]
    assert [item.key for item in quarantined] == ["cubes/bad"]


# --- grib -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["era5.grib", "a/b c%\n/gfs.t00z.pgrb2.0p25.f000.grib2", "x.grb", "12000/ü.grb2"])
def test_a_grib_file_is_an_entry_named_by_its_path(name: str):
    entry = one(GRIB, stored(f"grib/{name}", 7))
    assert (entry.format, entry.facets, entry.size_bytes) == ("grib", {"file": name}, 7)
    assert entry.variable == name.rpartition("/")[2].rpartition(".")[0]
    assert entry.time_start is None, "a path says nothing about time: its header will"


def test_indexes_beside_grib_files_are_left_alone_and_other_files_quarantined():
    assert parse([stored("grib/a.grib.5b7b6.idx")], GRIB) == ([], [])
    assert "does not end in .grib, .grib2, .grb, .grb2" in reasons(GRIB, stored("grib/a.nc"))["grib/a.nc"]
    assert "does not end in" in reasons(GRIB, stored("grib/.grib"))["grib/.grib"]
    assert reasons(GRIB, stored("grib/a.grb", 0)) == {"grib/a.grb": "it is empty"}


# --- generic ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("year", ["0001", "1850", "12000"])
def test_a_pattern_gives_facets_variable_and_time(year: str):
    entry = one(OWN, stored(f"own/my model%\n/{year}/air_temp_{year}12.nc", 9))
    assert entry.facets == {"model": "my model%\n", "year": year, "variable": "air_temp", "month": "12"}
    assert (entry.variable, entry.format, entry.version) == ("air_temp", "netcdf4", "")
    assert (entry.time_start, entry.time_end) == (time_key(int(year), 12), time_key(int(year) + 1))


def test_fixed_fields_have_no_time_and_a_version_supersedes():
    mount = replace(OWN, pattern="{variable}/{version}/{name}.nc")
    entry = one(mount, stored("own/orog/v2/fx.nc"))
    assert (entry.time_start, entry.time_end, entry.version) == (None, None, "v2")
    assert entry.facets == {"variable": "orog", "name": "fx"}
    assert entry.series == one(mount, stored("own/orog/v10/fx.nc")).series


@pytest.mark.parametrize(("make", "kind"), [(v2, "zarr2"), (v3, "zarr3")])
def test_a_pattern_may_be_of_stores(make, kind: str):
    mount = replace(OWN, pattern="{model}/{year}.zarr", variable="tas")
    entry = one(mount, *make("own/ukesm/1999.zarr"))
    assert (entry.variable, entry.format, entry.facets) == ("tas", kind, {"model": "ukesm", "year": "1999"})


def test_a_pattern_may_be_of_grib_files_of_days():
    mount = replace(OWN, pattern="{variable}/{year}{month}{day}.grib2")
    entry = one(mount, stored("own/t/20110131.grib2"))
    assert (entry.format, entry.time_start) == ("grib", time_key(2011, 1, 31))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("own/m/2011/tas_201113.nc", "exists in no calendar"),
        ("own/m/0000/tas_000001.nc", "exists in no calendar"),
        ("own/m/2011/tas_201207.nc", "a name that occurs twice has two values"),
        ("own/tas_201207.nc", "its path is not {model}/{year}/{variable}_{year}{month}.nc below the mount"),
        ("own/m//tas_201207.nc", "an empty part"),
        ("own/m/../tas_201207.nc", "an empty part, . or .."),
    ],
)
def test_paths_that_a_pattern_does_not_fit_are_quarantined(key: str, reason: str):
    assert reason in reasons(OWN, stored(key))[key]


def test_an_empty_file_that_fits_is_quarantined():
    assert reasons(OWN, stored("own/m/2011/tas_201107.nc", 0)) == {"own/m/2011/tas_201107.nc": "it is empty"}


# --- exclude ----------------------------------------------------------------------------------------------------


def test_excluded_files_stores_and_folders_are_quarantined_and_the_version_before_is_current_again():
    drs = "CMIP/MOHC/UKESM1-0-LL/historical/r1i1p1f2/Amon/tas/gn"
    objects = sorted([*v2(f"cmip6/{drs}/v20190406"), *v2(f"cmip6/{drs}/v20200101"), *v2(f"cmip6/{drs}/v20210101")])
    mount = replace(CMIP6, exclude=frozenset({f"{drs}/v20200101", f"{drs}/v20210101"}))
    entries, quarantined = parse(objects, mount)
    assert [entry.version for entry in entries] == ["v20190406"]
    assert {item.reason for item in quarantined} == {"it is on the exclude list"}
    assert parse(objects, replace(CMIP6, exclude=frozenset({"CMIP/MOHC"})))[0] == []


def test_a_path_on_the_exclude_list_that_is_not_there_is_told():
    _, (told,) = parse([stored("era5-pds/2026/03/data/x.nc")], replace(ERA5, exclude=frozenset({"2026/03/data/y.nc"})))
    assert told.key == "era5-pds/2026/03/data/y.nc"
    assert "names it, and it is not there" in told.reason


# --- the stanza -------------------------------------------------------------------------------------------------

FILE = """\
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - region: us-west-2
    cidr: 10.1.0.0/16
    datasets:
      - name: own
        layout: generic
        mount: own
        pattern: "{model}/{year}/{variable}_{year}{month}.nc"
        exclude: [ukesm/1999, "bad model/2000/tas_200001.nc"]
"""


def load(folder: Path, text: str) -> Topology:
    (folder / "regions.yaml").write_text(text)
    return Topology.load(folder / "regions.yaml")


def test_pattern_and_exclude_are_read_from_the_file(tmp_path: Path):
    (dataset,) = load(tmp_path, FILE).worker("us-west-2").datasets
    assert dataset.pattern == OWN.pattern
    assert dataset.exclude == ("ukesm/1999", "bad model/2000/tas_200001.nc")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layout: generic", "layout: grib", r":9: .*pattern: only layout generic has a pattern, and this is grib"),
        ('        pattern: "{model}/{year}/{variable}_{year}{month}.nc"\n', "", r":7: .*layout: generic needs a pattern"),
        ("{variable}_", "x_", r":9: .*pattern: .* must name the variable once: write {variable} in the pattern"),
        ("        exclude", "        variable: tas\n        exclude", r":9: .*pattern: .* must name the variable once"),
        ("{month}.nc", "{month}.txt", r":9: .*pattern: .* must end in the name of a file or store"),
        ("ukesm/1999", "/ukesm/1999", r":10: .*exclude\[0\]: '/ukesm/1999' must be the plain path"),
    ],
)  # fmt: skip
def test_a_stanza_that_does_not_fit_its_layout_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, message: str
):
    with pytest.raises(TopologyError, match=message):
        load(tmp_path, FILE.replace(old, new, 1))
