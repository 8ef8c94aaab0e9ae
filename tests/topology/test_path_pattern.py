"""Patterns of paths: what they say, and that nothing is told where it could be told in two ways."""

from __future__ import annotations

from time import perf_counter

import pytest

from xdask_pipelines.catalog.entry import _RESERVED, FIELDS
from xdask_pipelines.topology.path_pattern import read_pattern

OWN = "{model}/{year}/{variable}_{year}{month}.nc"


@pytest.mark.parametrize(
    ("pattern", "path", "said"),
    [
        (OWN, "ukesm/2011/tas_201107.nc", {"model": "ukesm", "year": "2011", "variable": "tas", "month": "07"}),
        (OWN, "a b%20/0001/air_temp_000112.nc", {"model": "a b%20", "year": "0001", "variable": "air_temp", "month": "12"}),
        (OWN, "m\n/12000/x_1200001.nc", {"model": "m\n", "year": "12000", "variable": "x", "month": "01"}),
        ("*/{variable}.zarr", "anything at all/tas.zarr", {"variable": "tas"}),
        ("{v}-{year}{month}{day}.grb2", "ü-20110203.grb2", {"v": "ü", "year": "2011", "month": "02", "day": "03"}),
        ("{variable}/{variable}_{model}.nc", "a_b/a_b_c_d.nc", {"variable": "a_b", "model": "c_d"}),
        ("{a}.nc", "x.nc.nc", {"a": "x.nc"}),
    ],
)  # fmt: skip
def test_a_path_says_what_its_pattern_names(pattern: str, path: str, said: dict[str, str]):
    assert read_pattern(pattern).match(path) == said


@pytest.mark.parametrize(
    ("pattern", "path", "reason"),
    [
        (OWN, "ukesm/tas_201107.nc", "its path is not {model}/{year}"),
        (OWN, "ukesm/2011/more/tas_201107.nc", "its path is not"),
        (OWN, "ukesm/2011/_201107.nc", "its path is not"),
        (OWN, "ukesm/2011/tas_2011.nc", "its path is not"),
        (OWN, "ukesm/2011/tas_201107.nc.tmp", "its path is not"),
        (OWN, "ukesm/2011/tas_２０１１07.nc", "its path is not"),
        (OWN, "ukesm/2011/tas_201207.nc", "a name that occurs twice has two values"),
        ("{a}_{b}.nc", "x_y_z.nc", "several ways: a=x_y, b=z or a=x, b=y_z|several ways: a=x, b=y_z or a=x_y, b=z"),
        ("{a}{year}.nc", "x12011.nc", "several ways"),
    ],
)
def test_a_path_that_does_not_fit_or_fits_twice_is_refused_with_the_reason(pattern: str, path: str, reason: str):
    said = read_pattern(pattern).match(path)
    assert isinstance(said, str)
    assert any(part in said for part in reason.split("|")), said


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "is not a pattern"),
        ("{a}/{b}", "must end in the name of a file or store: one of .nc, .nc4, .grib"),
        ("{a}/.nc", "must end in"),
        ("*", "must end in"),
        ("{a}/*.nc", "is not a pattern at '*.nc'"),
        ("/{a}.nc", "is not a pattern at ''"),
        ("../{a}.nc", "is not a pattern at '..'"),
        ("{a}//{b}.nc", "is not a pattern at ''"),
        ("{a.nc", "is not a pattern at '{a.nc'"),
        ("{{a}}.nc", "is not a pattern"),
        ("{}.nc", "{} in '{}.nc' is not a name"),
        ("{a:\\d+}.nc", "is not a name"),
        ("{a}{b}.nc", "nothing between {a} and {b}"),
        ("{a}_{month}.nc", "has {month} without {year}"),
        ("{year}_{day}.nc", "has {day} without {month}"),
    ],
)
def test_a_bad_pattern_is_refused_with_what_is_wrong(pattern: str, problem: str):
    with pytest.raises(ValueError) as caught:
        read_pattern(pattern)
    assert problem in str(caught.value)


@pytest.mark.parametrize("name", sorted((set(FIELDS) | _RESERVED) - {"variable", "version"}))
def test_no_facet_can_be_named_as_what_a_search_takes(name: str):
    with pytest.raises(ValueError, match="has another meaning in a search"):
        read_pattern(f"{{{name}}}_{{x}}.nc")


def test_a_name_made_to_take_all_day_is_given_up_in_time():
    names = "_".join(f"{{n{i}}}" for i in range(9))
    start = perf_counter()
    assert "in too many ways" in str(read_pattern(f"{names}_x.nc").match("_" * 250 + "y.nc"))
    assert perf_counter() - start < 2
