"""Attributes that are too long for a catalog: texts are cut and say so, what decides the meaning of data is never cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.support.catalog_helpers import era5
from xdask_pipelines.access.describing.long_attributes import MAX_ATTRIBUTES_BYTES
from xdask_pipelines.access.header import describe
from xdask_pipelines.access.open import open_entries
from xdask_pipelines.errors import AccessError, CatalogError


def _described(path: Path, attrs: dict[str, Any], of_variable: dict[str, Any] | None = None) -> dict[str, Any]:
    time = ("time", np.arange(3.0), {"units": "days since 2011-07-01", "calendar": "standard"})
    data = ("time", np.ones(3, "f4"), {"units": "K", "standard_name": "air_temperature", **(of_variable or {})})
    xr.Dataset({"tas": data}, {"time": time}, attrs).to_netcdf(path / "tas.nc")
    return describe(path / "tas.nc", "netcdf4")


def test_a_long_history_is_cut_and_says_so_to_whoever_reads_it(tmp_path: Path) -> None:
    history = "ncrcat é " * 20_000
    header = _described(tmp_path, {"history": history, "title": "short"}, {"comment": "x" * 9_000})
    assert header["cut_attributes"] == ["history", "tas:comment"]
    assert header["attrs"]["title"] == "short"
    entry = era5("2011-07", "tas", size_bytes=header["file"]["size_bytes"]).with_header(header)
    assert len(entry.to_json()) < 25_000
    opened = open_entries([entry])
    assert opened.attrs["history"].startswith("ncrcat é ncrcat é")
    assert opened.attrs["history"].endswith("… [cut after 8,000 of 200,000 bytes; the file has all of it]")
    assert opened["tas"].attrs["comment"].endswith("… [cut after 8,000 of 9,000 bytes; the file has all of it]")
    assert opened["tas"].attrs["units"] == "K"


def test_short_attributes_are_as_they_are(tmp_path: Path) -> None:
    header = _described(tmp_path, {"history": "x" * 8_000, "numbers": np.arange(5)})
    assert "cut_attributes" not in header
    assert header["attrs"] == {"history": "x" * 8_000, "numbers": [0, 1, 2, 3, 4]}


def test_many_long_attributes_are_cut_further_and_short_ones_stay(tmp_path: Path) -> None:
    texts = {f"namelist_{i:03}": "n" * 5_000 for i in range(100)} | {f"tag_{i}": "t" * 200 for i in range(50)}
    header = _described(tmp_path, texts)
    kept = header["attrs"]
    assert sum(len(str(v)) for v in kept.values()) < MAX_ATTRIBUTES_BYTES + 100 * 80
    assert all(kept[f"tag_{i}"] == "t" * 200 for i in range(50))
    assert len(header["cut_attributes"]) == 100


def test_long_numbers_that_cf_does_not_know_become_a_cut_text(tmp_path: Path) -> None:
    header = _described(tmp_path, {"weights": np.arange(10_000.0)})
    assert header["attrs"]["weights"].startswith("[0.0, 1.0, 2.0, ")
    assert "[cut after 8,000 of" in header["attrs"]["weights"]


@pytest.mark.parametrize("name", ["flag_meanings", "units", "crs_wkt", "cell_methods"])
def test_what_decides_the_meaning_of_data_is_kept_whole_or_refused(tmp_path: Path, name: str) -> None:
    if name != "units":
        header = _described(tmp_path, {}, {name: "m " * 20_000})
        assert header["variables"]["tas"]["attrs"][name] == "m " * 20_000
    with pytest.raises(
        AccessError, match=rf"has an attribute tas:{name} of 70,000 bytes.*write a copy with a shorter one"
    ):
        _described(tmp_path, {}, {name: "m" * 70_000})


def test_an_entry_that_no_store_could_take_is_refused() -> None:
    entry = era5("2011-07", header={"coords": {"lat": "x" * 9_000_000}})
    with pytest.raises(CatalogError, match=r"the document has 9\.0 MB, but the catalog accepts at most 8 MB"):
        entry.to_json()
