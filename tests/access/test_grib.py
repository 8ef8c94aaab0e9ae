"""GRIB: blocks of messages are read at home as ecCodes reads the file, and files that are not one array are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tests.support.access_helpers import described
from tests.support.grib_files import decoded, message, write_grib
from tests.support.places import EAST, Cluster
from xdask_pipelines.access import open_entries
from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.describing import grib
from xdask_pipelines.access.describing.grib import read_messages
from xdask_pipelines.access.header import describe
from xdask_pipelines.errors import AccessError, ChangedEntry
from xdask_pipelines.placement import compute
from xdask_pipelines.placement.worker.guard import ReadCounter

LEVELS, HOURS = (850, 500, 300), (0, 600, 1200, 1800)


def cube() -> list[bytes]:
    """Two variables on three levels at four times, in no order."""
    every = [
        message(shortName=name, level=level, dataDate=20200131, dataTime=hour)
        for name, level, hour in product(("t", "u"), LEVELS, HOURS)
    ]
    return [every[i] for i in np.random.default_rng(3).permutation(len(every))]


def test_a_file_of_several_variables_levels_and_times_is_read_as_eccodes_reads_it(cluster: Cluster) -> None:
    path = write_grib(cluster.data[EAST] / "grib/cube.grib2", *cube())
    (entry,) = described(cluster.client, EAST, "grib/cube.grib2", file_format="grib")
    assert entry.header is not None
    assert entry.header["time_range"] == [20200131000000, 20200201000000]
    lazy = open_entries([entry])
    (got,), evidence = compute(cluster.client, lazy)
    assert [str(t) for t in got.time.values] == [f"2020-01-31 {h // 100:02}:00:00" for h in HOURS]
    for name in ("t", "u"):
        assert got[name].dims == ("time", "isobaricInhPa", "latitude", "longitude")
        assert got[name].dtype == lazy[name].dtype == np.float32
    assert (got.t.units, got.t.standard_name, got.u.standard_name) == ("K", "air_temperature", "eastward_wind")
    expected = decoded(path)
    assert len(expected) == 24
    for (name, when, level, _), field in expected.items():
        (i,) = (n for n, t in enumerate(got.time.values) if t.strftime("%Y%m%d%H%M") == when)
        np.testing.assert_array_equal(got[name].isel(time=i).sel(isobaricInhPa=level), field)
    np.testing.assert_array_equal(got.latitude, np.arange(60, -2, -2))
    np.testing.assert_array_equal(got.longitude, np.arange(0, 32, 2))
    assert evidence.bytes_read_by_region == {EAST: path.stat().st_size}
    assert [p.name for p in path.parent.iterdir()] == ["cube.grib2"], "no index is written beside the data"


def test_a_part_of_a_file_reads_only_its_messages(cluster: Cluster) -> None:
    path = write_grib(cluster.data[EAST] / "grib/part.grib2", *cube())
    entries = described(cluster.client, EAST, "grib/part.grib2", file_format="grib")
    part = open_entries(entries, ["u"]).u.sel(isobaricInhPa=500)
    (got,), evidence = compute(cluster.client, part)
    fields = decoded(path)
    expected = [fields["u", f"20200131{hour:04}", 500.0, 0] for hour in HOURS]
    np.testing.assert_array_equal(got, expected)
    assert evidence.bytes_read_by_region[EAST] <= path.stat().st_size / 2


def kinds() -> dict[str, list[bytes]]:
    land = np.where(np.arange(31 * 16) % 3, 280.0, 9999.0)
    return {
        "grib1": [message("GRIB1", dataDate=19790101, dataTime=h, values=np.full((181, 360), 5.0 + h)) for h in HOURS],
        "gaussian": [message("regular_gg_pl_grib1", dataTime=h) for h in HOURS],
        "missing": [message(bitmapPresent=1, missingValue=9999.0, values=land, dataTime=h) for h in HOURS],
        "south first": [
            message(jScansPositively=1, latitudeOfFirstGridPointInDegrees=0, latitudeOfLastGridPointInDegrees=60)
        ],
        "ccsds": [message(packingType="grid_ccsds", dataTime=h) for h in HOURS],
        "second order": [message(packingType="grid_complex_spatial_differencing", dataTime=h) for h in HOURS],
        "members": [message(productDefinitionTemplateNumber=1, number=n, dataTime=h) for n in (0, 1, 2) for h in HOURS],
        "forecast": [message(shortName="t", dataTime=0, step=s) for s in (3, 6, 9)],
        "accumulated": [message("regular_ll_sfc_grib2", shortName="tp", stepRange=f"0-{s}") for s in (6, 12)],
    }  # fmt: skip


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_encoding_gives_the_values_of_eccodes(tmp_path: Path, kind: str) -> None:
    path = write_grib(tmp_path / "a.grib", *kinds()[kind])
    header = describe(path, "grib")
    ((name, variable),) = header["variables"].items()
    coords = {axis: unpack(c) for axis, c in header["coords"].items()}
    ledger = ReadCounter()
    got = read_messages(path, unpack(variable["messages"]), [slice(0, n) for n in variable["shape"]], ledger)
    expected = decoded(path)
    assert len(expected) == np.prod(variable["shape"][:-2])
    for (said, when, _, member), field in expected.items():
        assert said == name
        i = coords["time"].tolist().index(int(datetime.strptime(when + "+0000", "%Y%m%d%H%M%z").timestamp()))
        np.testing.assert_array_equal(got[member, i] if "number" in coords else got[i], field)
    assert np.isnan(got).any() == (kind == "missing")
    assert ledger.nbytes == path.stat().st_size == variable["stored_bytes"]
    first = 0.0 if kind == "south first" else 60.0
    if kind not in ("grib1", "gaussian"):
        assert (coords["latitude"][0], coords["latitude"][-1]) == (first, 60.0 - first)


def test_ecCodes_leaves_the_libraries_of_others_alone() -> None:
    """Loaded as its own package does, sqlite3 would become 3.26 and pyproj would end the process."""
    code = "import sqlite3, pyproj; pyproj.Proj('epsg:4326'); print(sqlite3.sqlite_version, pyproj.proj_version_str)"
    load = "from xdask_pipelines.access.describing.grib import load_eccodes; load_eccodes().codes_samples_path(); "
    alone, beside = (
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
        for text in (code, load + code)
    )
    assert alone == beside != ""


def test_fields_of_one_level_each_lie_side_by_side(tmp_path: Path) -> None:
    path = write_grib(
        tmp_path / "a.grib",
        message("regular_ll_sfc_grib2", shortName="2t"),
        message("regular_ll_sfc_grib2", shortName="sp"),
        *(message(shortName="t", level=level) for level in LEVELS),
    )
    header = describe(path, "grib")
    assert {name: v["dims"] for name, v in header["variables"].items()} == {
        "t2m": ["time", "latitude", "longitude"],
        "sp": ["time", "latitude", "longitude"],
        "t": ["time", "isobaricInhPa", "latitude", "longitude"],
    }
    assert header["variables"]["t2m"]["attrs"]["GRIB_level"] == 2


def rejections() -> dict[str, tuple[list[bytes], str]]:
    two = [message(shortName="t", level=level, dataTime=h) for level in (850, 500) for h in (0, 600)]
    return {
        "level types": (
            [message(shortName="t", level=500), message("regular_ll_sfc_grib2", shortName="t")],
            r"t has several typeOfLevel: isobaricInhPa, surface",
        ),
        "steps": (
            [message("regular_ll_sfc_grib2", shortName="tp", stepRange=s) for s in ("0-6", "3-6")],
            r"tp at 20070323 1800 occurs twice, with stepRange 0-6 and 3-6",
        ),
        "runs": (
            [message(dataTime=0, step=12), message(dataTime=600, step=6)],
            r"t at 20070323 1200 occurs twice, with dataTime 0 and 600; stepRange 12 and 6",
        ),
        "twice": ([two[0], two[0]], r"occurs twice, with equal keys"),
        "hole": (two[:3], r"t has 3 messages for 1 number × 2 time × 2 level; that of .*level 500 .* 0600 is missing"),
        "times differ": ([two[0], message(shortName="u", dataTime=600)], r"time of u is .* and that of t "),
        "levels differ": (
            [*two[::2], *(message(shortName="u", level=level, dataTime=0) for level in (850, 300))],
            r"isobaricInhPa of u is 300, 850 and that of t 500, 850",
        ),
        "grids differ": ([message(shortName="t"), message(shortName="u", Ni=8)], r"t, u has several grids"),
        "reduced grid": ([message("reduced_gg_pl_32_grib2")], r"its grid is reduced_gg.*regrid it to regular_ll"),
        "several fields": ([multi_field()], r"the message at byte 0 holds 2 fields.*write each as a separate message"),
    }  # fmt: skip


def multi_field() -> bytes:
    """One GRIB 2 message of two fields: sections 4 to 7 are there twice."""
    whole = message()
    sections, at = {}, 16
    while at < len(whole) - 4:
        length = int.from_bytes(whole[at : at + 4])
        sections[whole[at + 4]] = whole[at : at + length]
        at += length
    body = b"".join(sections.values()) + b"".join(s for n, s in sections.items() if n >= 4) + b"7777"
    return whole[:8] + (16 + len(body)).to_bytes(8) + body


@pytest.mark.parametrize("kind", rejections())
def test_messages_that_are_not_one_array_are_refused_with_the_keys_that_differ(tmp_path: Path, kind: str) -> None:
    messages, reason = rejections()[kind]
    path = write_grib(tmp_path / "a.grib", *messages)
    with pytest.raises(AccessError, match=reason) as caught:
        describe(path, "grib")
    assert "then run `xdask sync`" in str(caught.value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = message()
    for content in (b"", b"not GRIB at all", whole + whole[:-30], whole[:100]):
        path = write_grib(tmp_path / "a.grib", content)
        with pytest.raises(AccessError, match=r"a.grib cannot be read as grib.*corrupt, incomplete or not supported"):
            describe(path, "grib")


def test_a_grib_file_that_changed_or_was_cut_is_refused(cluster: Cluster) -> None:
    path = write_grib(cluster.data[EAST] / "grib/changed.grib", *cube())
    (entry,) = described(cluster.client, EAST, "grib/changed.grib", file_format="grib")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChangedEntry, match=r"grib/changed.grib in us-east-1 changed after"):
        compute(cluster.client, open_entries([entry]).t.mean())


def test_threads_decode_at_the_same_time_and_agree(tmp_path: Path) -> None:
    path = write_grib(
        tmp_path / "a.grib", *(message(packingType="grid_ccsds", dataTime=h) for h in range(0, 2400, 100))
    )
    places = unpack(describe(path, "grib")["variables"]["t"]["messages"])
    expected = list(decoded(path).values())
    whole = [slice(0, 31), slice(0, 16)]

    def read(i: int) -> bool:
        at = i % len(places)
        return np.array_equal(read_messages(path, places[at : at + 1], whole, ReadCounter())[0], expected[at])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(1000)))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(350, 20, np.arange(-10, 22, 2)), (330, 0, np.arange(-30, 2, 2)), (170, 200, np.arange(170, 202, 2))],
    ids=["across Greenwich", "up to Greenwich", "across the date line"],
)
def test_longitudes_of_a_region_come_out_in_one_piece(
    tmp_path: Path, first: int, last: int, expected: np.ndarray
) -> None:
    ends = {"longitudeOfFirstGridPointInDegrees": first, "longitudeOfLastGridPointInDegrees": last}
    header = describe(write_grib(tmp_path / "a.grib2", message(**ends)), "grib")
    np.testing.assert_array_equal(unpack(header["coords"]["longitude"]), expected)


def test_without_eccodes_a_grib_file_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "eccodes", None)
    monkeypatch.setattr(grib, "load_eccodes", grib.load_eccodes.__wrapped__)
    (tmp_path / "t.grib").write_bytes(b"GRIB")
    with pytest.raises(AccessError, match=r"not installed on this worker.*pip install 'xdask_pipelines\[grib\]'"):
        describe(tmp_path / "t.grib", "grib")
