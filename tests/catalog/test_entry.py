"""Entries and times: identity, order, JSON, and what is refused."""

import dataclasses
import json
import pickle
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.catalog_helpers import cmip6, era5
from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.entry import version_order
from xdask_pipelines.catalog.times import time_key, time_range, time_text
from xdask_pipelines.errors import CatalogError

LONGEST = (31, 30, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
instants = st.tuples(
    st.integers(1, 12000),
    st.integers(1, 12),
    st.integers(1, 31),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
).filter(lambda t: t[2] <= LONGEST[t[1] - 1])


@given(instants, instants)
def test_time_keys_order_as_the_instants_do_from_year_1_to_12000(a, b):
    assert (time_key(*a) < time_key(*b)) == (a < b)


@given(instants, st.integers(1, 6))
def test_a_period_holds_its_own_instants_and_not_the_next_period_s(instant, precision):
    fields = instant[:precision]
    separators = ["", "-", "-", "T", ":", ":"]
    widths = [4, 2, 2, 2, 2, 2]
    text = "".join(f"{s}{f:0{w}}" for s, f, w in zip(separators, fields, widths, strict=False))
    start, end = time_range(text)
    assert start <= time_key(*instant) < end
    following = (*fields[:-1], fields[-1] + 1)
    with suppress(CatalogError):  # when the next period begins with a carry
        assert end <= time_key(*following)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026", 20260101000000, 20270101000000),
        ("2026-12", 20261201000000, 20270101000000),
        ("2026-03-25T23", 20260325230000, 20260326000000),
        ("2026-03-25T06:59", 20260325065900, 20260325070000),
        ("2026-03-25T23:59:59", 20260325235959, 20260326000000),
        ("0001-01", 10101000000, 10201000000),
        ("12000-02", 120000201000000, 120000301000000),
        ("2026-02-30", 20260230000000, 20260231000000),
    ],
)
def test_periods_are_half_open_ranges(text: str, start: int, end: int):
    assert time_range(text) == (start, end)


def test_december_s_end_is_january_s_start_and_february_30_lies_before_march():
    assert time_range("2026-12")[1] == time_range("2027-01")[0]
    assert time_range("2026-02-30")[1] <= time_key(2026, 3, 1)
    assert time_range("2026-02")[0] < time_key(2026, 2, 30) < time_range("2026-02")[1]


@pytest.mark.parametrize(
    "text", ["", "26", "2026-13", "2026-00", "2026-02-31", "2026-04-31", "2026-03-25T24", "0000", "2026/03"]
)
def test_what_is_no_period_is_refused_with_an_example(text: str):
    with pytest.raises(CatalogError, match=r"write one such as 2026|write a period such as 2026"):
        time_range(text)


def test_time_text_is_short_and_reads_back():
    for text in ("2026-03", "2026-03-25", "2026-03-25T06:00", "0001-01", "12000-02-30"):
        assert time_text(time_range(text)[0]) == text


def test_identity_is_dataset_region_key_and_part_and_nothing_else():
    entry = era5("2011-07")
    assert entry.id == era5("2011-07", etag="other", size_bytes=7, attributes={"run_id": "x"}).id
    others = {era5("2011-07", region="us-east-2").id, era5("2011-07", dataset="era6").id, era5("2011-07", part="p").id}
    assert len({entry.id, *others}) == 4
    assert len(entry.id) == 32


def test_lengths_keep_neighbouring_fields_apart():
    assert era5("2011-07", dataset="ab", region="c").id != era5("2011-07", dataset="a", region="bc").id


def test_the_digest_changes_with_content_and_not_with_header_or_generation():
    entry = era5("2011-07")
    assert entry.digest == entry.with_header({"dims": ["time"]}).digest
    assert entry.digest == dataclasses.replace(entry, generation=9).digest
    assert len({entry.digest, era5("2011-07", etag="f").digest, era5("2011-07", excerpt=True).digest}) == 3


def test_a_header_s_time_range_is_what_the_data_say():
    entry = cmip6().with_header({"time_range": [time_key(2015), time_key(2101)]})
    assert (entry.time_start, entry.time_end) == (time_key(2015), time_key(2101))
    assert era5("2011-07").with_header({}).time_start == time_key(2011, 7)


nasty = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=40).filter(
    lambda t: all(part not in ("", ".", "..") for part in t.split("/"))
)


@given(nasty, nasty, st.dictionaries(st.just("a facet"), nasty), st.integers(0, 2**62))
def test_json_gives_the_same_entry_back_whatever_its_names(key, part, facets, size):
    entry = era5("2011-07", key=key, part=part, facets=facets, size_bytes=size, header={"chunks": [1, None, "é"]})
    assert Entry.from_json(entry.to_json()) == entry
    assert pickle.loads(pickle.dumps(entry)) == entry


def test_json_of_another_version_is_refused_by_the_name_of_its_field():
    document = json.loads(era5("2011-07").to_json())
    with pytest.raises(CatalogError, match="unknown fields colour"):
        Entry.from_json(json.dumps({**document, "colour": "red"}))
    del document["key"]
    with pytest.raises(CatalogError, match="key"):
        Entry.from_json(json.dumps(document))
    for text in ("[]", "nonsense", "{"):
        with pytest.raises(CatalogError, match="Not an entry"):
            Entry.from_json(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": "/etc/passwd"}, "plain path relative to the Region's root"),
        ({"key": "a/../b"}, "plain path relative to the Region's root"),
        ({"dataset": ""}, "dataset must be text and not empty"),
        ({"format": "hdf4"}, "'hdf4' is not one of netcdf4, zarr2, zarr3, grib"),
        ({"time_end": None}, "must both be set"),
        ({"time_end": 1}, "empty range"),
        ({"facets": {"year": 2011}}, "'year' = 2011 must be text"),
        ({"facets": {"variable": "other"}}, "'variable' has another meaning in a search"),
        ({"facets": {"time": "x"}}, "'time' has another meaning in a search"),
        ({"facets": {"a\x1fb": "x"}}, "ends a name in the catalog"),
        ({"attributes": {"": "x"}}, "a facet cannot be named ''"),
        ({"attributes": {"year": "2011"}}, "year cannot be both facet and attribute"),
        ({"key": "a\udc80"}, "text that cannot be encoded in UTF-8"),
        ({"attributes": {"license": "CC0\0"}}, r"'CC0\\x00' contains U\+0000, where SQLite ends a text"),
    ],
)
def test_an_entry_that_cannot_be_right_is_refused_in_words(changes, words):
    with pytest.raises(CatalogError, match=words):
        era5("2011-07", **changes)


def test_a_header_that_json_cannot_hold_is_refused():
    with pytest.raises(CatalogError, match="write NaN and dates as text"):
        era5("2011-07", header={"fill": float("nan")}).to_json()


def test_versions_order_by_their_numbers():
    assert sorted(["v20190815", "v10", "v9", "v10a"], key=version_order) == ["v9", "v10", "v10a", "v20190815"]


def test_equal_entries_hash_alike():
    assert len({era5("2011-07"), era5("2011-07"), era5("2011-08")}) == 2
