"""What every store of the catalog must answer; the fixtures run each test on each store."""

from ast import literal_eval
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.catalog_helpers import ERA5_PLACE as ERA5
from tests.support.catalog_helpers import cmip6, era5, keys
from xdask_pipelines.catalog import Catalog, Change
from xdask_pipelines.catalog.catalog import Box
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.errors import AmbiguousEntries, CatalogError, MissingEntries

# --- empty ------------------------------------------------------------------------------------------------------


def test_a_catalog_that_does_not_exist_yet_is_empty(catalog: Catalog, tmp_path: Path):
    assert catalog.search(dataset="era5", any_facet="x") == []
    assert catalog.count() == 0
    assert catalog.facets("source_id") == {"source_id": {}}
    assert catalog.facets() == {}
    assert catalog.names() == {}
    assert catalog.generation(**ERA5) == 0
    assert list(catalog.manifest(**ERA5).objects) == []
    assert catalog.tombstones(**ERA5) == []
    with pytest.raises(MissingEntries, match=r"It is empty\. Run `xdask sync`"):
        catalog.resolve(dataset="era5", variable="x")
    assert list(tmp_path.iterdir()) == [], "reading must not create anything"


# --- search and facets ------------------------------------------------------------------------------------------


def test_search_matches_exactly_and_comes_sorted(filled: Catalog):
    assert len(filled.search()) == 28
    assert keys(filled.search()) == sorted(keys(filled.search(dataset="cmip6"))) + sorted(
        keys(filled.search(dataset="era5"))
    )
    assert keys(filled.search(dataset="era5", year="2011", month="07", variable="air_temperature")) == [
        "era5-pds/2011/07/data/air_temperature.nc"
    ]
    assert filled.search(variable="air") == []
    assert filled.search(variable="AIR_TEMPERATURE") == []
    assert len(filled.search(limit=5)) == 5
    assert filled.search(limit=0) == []


def test_a_list_means_any_of_its_values(filled: Catalog):
    assert len(filled.search(month=["01", "02", "77"])) == 4
    assert filled.search(month=[]) == []
    assert filled.count(key=["era5-pds/2011/07/data/air_temperature.nc", "nothing"]) == 1


def test_an_unknown_name_is_refused_with_the_known_ones(filled: Catalog):
    for ask in (filled.search, filled.count, filled.facets):
        with pytest.raises(CatalogError, match=r"No entry has colour\. Available names: .*experiment_id.*year"):
            ask(colour="red")
    with pytest.raises(CatalogError, match="No entry has colour"):
        filled.facets("colour")
    with pytest.raises(CatalogError, match="No entry has colour"):
        filled.resolve(dataset="era5", colour="red")


def test_a_value_that_is_no_text_is_refused(filled: Catalog):
    with pytest.raises(CatalogError, match="year = 2011 is not text"):
        filled.search(year=2011)
    with pytest.raises(CatalogError, match="limit is -1"):
        filled.search(limit=-1)


@pytest.mark.parametrize("odd", ["ann\udce9e", "2011\0", "2011\0x"])
def test_what_is_no_text_of_an_entry_is_refused_at_once(filled: Catalog, odd: str):
    """A shell gives arguments in another encoding with lone surrogates; SQLite ends a text at U+0000."""
    asks: list[Callable[[], object]] = [
        lambda: filled.search(year=odd),
        lambda: filled.count(year=["2011", odd]),
        lambda: filled.search(**{odd: "2011"}),
        lambda: filled.count(key=f"era5-pds/2011/07/data/air_temperature.nc{odd}"),
        lambda: filled.facets(odd),
        lambda: filled.facets("year", month=odd),
        lambda: filled.resolve(dataset=odd),
        lambda: filled.resolve(dataset="era5", each={"year": ["2011", odd]}),
        lambda: filled.instead(year=odd),
    ]
    for ask in asks:
        with pytest.raises(CatalogError, match=r"is not valid UTF-8 text, which no entry can have"):
            ask()


def test_time_finds_what_overlaps_both_periods_included(filled: Catalog):
    assert filled.count(dataset="era5", time=("2011-03", "2011-05")) == 6
    assert filled.count(time="2011-03-31T23") == 2
    assert filled.count(time="2012") == 0
    assert filled.facets("month", time="2011-12") == {"month": {"12": 2}}
    with pytest.raises(CatalogError, match="ends before it starts"):
        filled.search(time=("2011-05", "2011-03"))


def test_a_search_by_times_is_refused_with_the_right_word(filled: Catalog):
    for ask in (filled.search, filled.count, filled.facets):
        with pytest.raises(
            CatalogError, match=r"has the filter time .*, not times. Write time=\('2011-01', '2011-03'\)"
        ):
            ask(times=["2011-01", "2011-03"])
        with pytest.raises(CatalogError, match="neither one period nor a range of two"):
            ask(time=2011)


def test_odd_calendars_and_far_years_are_found_by_time(catalog: Catalog):
    far, early, fixed = era5("12000-02"), era5("0001-01"), era5("2011-01", "orog", time_start=None, time_end=None)
    catalog.commit(Change([far, early, fixed]))
    assert keys(catalog.search(time="12000-02-30")) == [far.key]
    assert keys(catalog.search(time=("0001", "0002"))) == [early.key]
    assert catalog.count(time=("0001", "12000")) == 2, "data without time overlap no time"
    assert catalog.count(variable="orog") == 1


def test_facets_count_values_under_a_filter(filled: Catalog):
    assert filled.facets("variable", "region", dataset="era5") == {
        "variable": {"air_pressure": 12, "air_temperature": 12},
        "region": {"us-east-1": 24},
    }
    assert filled.facets("experiment_id", dataset="era5") == {"experiment_id": {}}
    assert filled.facets("key", month="07", variable="air_pressure") == {
        "key": {"era5-pds/2011/07/data/air_pressure.nc": 1}
    }
    assert set(filled.facets(dataset="era5")) == {"dataset", "region", "variable", "year", "month"}
    assert filled.facets()["experiment_id"] == {"ssp245": 2, "ssp585": 2}


def test_attributes_can_be_searched_and_are_named_as_such(catalog: Catalog):
    catalog.commit(Change([era5("2011-07", attributes={"run_id": "abc", "license": "CC-BY-4.0"})]))
    assert catalog.count(run_id="abc") == 1
    assert catalog.names()["run_id"] == "attribute"
    assert catalog.names()["month"] == "facet"
    assert catalog.names()["region"] == "field"
    assert "run_id" not in catalog.facets()


def test_a_name_that_is_an_attribute_here_and_a_facet_there_is_a_facet_in_whichever_order(catalog: Catalog):
    catalog.commit(Change([era5("2011-01", "result", attributes={"model": "HadGEM3"})]))
    assert catalog.names()["model"] == "attribute"
    catalog.commit(Change([era5("2011-02", facets={"model": "HadGEM3"})]))
    assert catalog.names()["model"] == "facet"
    assert catalog.facets()["model"] == {"HadGEM3": 2}
    catalog.commit(
        Change([era5("2011-03", "result", attributes={"grid": "gn"}), era5("2011-04", facets={"grid": "gn"})])
    )
    assert catalog.facets()["grid"] == {"gn": 2}, "in one commit, too"


@pytest.mark.parametrize(
    "odd",
    ["with space", "line\nbreak", "100%", "per%20cent", "quo'te\"", "semi;colon", "ünï", "日本", "-- drop", "k" * 900],
)
def test_odd_names_go_in_and_come_out_unchanged(catalog: Catalog, odd: str):
    entry = era5("2011-07", key=f"era5-pds/{odd}/x.nc", facets={"odd": odd}, attributes={odd: odd}, part=odd)
    catalog.commit(Change([entry]))
    assert catalog.search(odd=odd)[0].key == entry.key
    assert catalog.count(key=entry.key, part=odd, **{odd: odd}) == 1
    assert catalog.facets("odd") == {"odd": {odd: 1}}


def test_what_comes_out_is_what_went_in_with_its_generation(catalog: Catalog):
    entry = era5("2011-07", header={"dims": {"time": 744}}, attributes={"run_id": "r"}, excerpt=True)
    generation = catalog.commit(Change([entry]))
    (found,) = catalog.search()
    assert found.generation == generation
    assert found.header == {"dims": {"time": 744}}
    assert found.digest == entry.digest
    assert found.excerpt


# --- place ------------------------------------------------------------------------------------------------------

PLACES = {
    "europe": (-10, 35, 30, 70),
    "globe": (-180, -90, 180, 90),
    "fiji": (175, -20, 185, -15),
    "dateline west": (-180, 0, -170, 10),
    "station": (13.4, 52.5, 13.4, 52.5),
    "pacific": (170, -30, -120, 30),
}


@pytest.fixture
def placed(catalog: Catalog) -> Catalog:
    """One entry for each place, and one that lies nowhere."""
    catalog.commit(
        Change([*(era5("2011-07", name, extent=box) for name, box in PLACES.items()), era5("2011-07", "nowhere")])
    )
    return catalog


@pytest.mark.parametrize(
    ("bbox", "found"),
    [
        ((0, 50, 20, 55), {"europe", "globe", "station"}),
        ((13.4, 52.5, 13.4, 52.5), {"europe", "globe", "station"}),
        ((14, 52, 20, 53), {"europe", "globe"}),
        ((31, 35, 40, 70), {"globe"}),
        ((30, 70, 40, 80), {"europe", "globe"}),
        ((170, -18, -179, -17), {"globe", "fiji", "pacific"}),
        ((180, -18, 190, -17), {"globe", "fiji", "pacific"}),
        ((-178, -18, -176, -17), {"globe", "fiji", "pacific"}),
        ((176, 5, 180, 6), {"globe", "dateline west", "pacific"}),
        ((-125, 0, -100, 1), {"globe", "pacific"}),
        ((350, 40, 355, 41), {"europe", "globe"}),
        ((350, 40, 5, 41), {"europe", "globe"}),
        ((0, -90, 360, 90), set(PLACES)),
        ((-180, -90, 180, 90), set(PLACES)),
    ],
)
def test_a_box_finds_what_lies_in_it_in_part_across_any_meridian(placed: Catalog, bbox: Box, found: set[str]):
    assert {entry.variable for entry in placed.search(bbox=bbox)} == found
    assert placed.count(bbox=bbox) == len(found)
    assert set(placed.facets("variable", bbox=bbox)["variable"]) == found


def test_data_without_extent_lie_in_no_box_and_a_box_narrows_as_other_names_do(placed: Catalog):
    assert placed.count() == len(PLACES) + 1
    assert placed.count(bbox=(0, -90, 360, 90), variable="nowhere") == 0
    assert placed.count(bbox=(0, 50, 20, 55), variable=["europe", "fiji"]) == 1
    assert placed.count(bbox=(0, 50, 20, 55), time="2012") == 0
    (found,) = placed.search(variable="pacific")
    assert found.extent == (170, -30, 240, 30)
    assert "" not in placed.names()


def test_an_extent_comes_from_the_header_and_goes_with_it(placed: Catalog):
    (found,) = placed.search(variable="station")
    placed.commit(Change([found.with_header({"extent": [100, 0, 110, 10]})]))
    assert placed.count(variable="station", bbox=(13, 52, 14, 53)) == 0
    assert placed.count(variable="station", bbox=(100, 0, 101, 1)) == 1
    placed.commit(Change([], [found.id]))
    assert placed.count(bbox=(100, 0, 101, 1)) == 1, "the globe alone"


@pytest.mark.parametrize(
    "bbox", [(0, 10, 10, 0), (0, -91, 1, 1), (0, 0, float("nan"), 1), (1, 2, 3), "box", (0, 0, 999, 1)]
)
def test_a_box_that_is_none_is_refused(catalog: Catalog, bbox: object):
    with pytest.raises(CatalogError, match=r"bbox: .* is not a box; write \(west, south, east, north\)"):
        catalog.search(bbox=bbox)
    with pytest.raises(CatalogError, match="is not a box"):
        era5("2011-01", extent=bbox)


# --- versions ---------------------------------------------------------------------------------------------------


def test_the_latest_version_wins_and_superseded_ones_stay_searchable(catalog: Catalog):
    catalog.commit(Change([cmip6(version="v20190815"), cmip6(version="v20200101"), cmip6(version="v9")]))
    assert [entry.version for entry in catalog.search()] == ["v20200101"]
    assert catalog.count(superseded=True) == 3
    assert catalog.facets("version") == {"version": {"v20200101": 1}}
    assert [entry.version for entry in catalog.search(version="v9")] == ["v9"], "a version that is named is meant"
    assert catalog.resolve(dataset="cmip6", version="v20190815")[0].version == "v20190815"
    assert catalog.resolve(dataset="cmip6")[0].version == "v20200101"


def test_when_the_latest_version_goes_the_one_before_is_current_again(catalog: Catalog):
    catalog.commit(Change([cmip6(version="v1"), cmip6(version="v2")]))
    catalog.commit(Change([], [cmip6(version="v2").id]))
    assert [entry.version for entry in catalog.search()] == ["v1"]
    catalog.commit(Change([cmip6(version="v3")]))
    assert [entry.version for entry in catalog.search()] == ["v3"]
    catalog.commit(Change([], [cmip6(version="v1").id]))
    assert catalog.count(superseded=True) == 1
    catalog.commit(Change([cmip6(version="v0")]))
    assert [entry.version for entry in catalog.search()] == ["v3"], "a row used again carries no old flag"


def test_versions_of_different_things_do_not_supersede_each_other(catalog: Catalog):
    catalog.commit(Change([cmip6("r1i1p1f1", version="v1"), cmip6("r2i1p1f1", version="v2")]))
    catalog.commit(
        Change([cmip6("r1i1p1f1", version="v2", region="us-east-1"), cmip6("r1i1p1f1", version="v5", part="2011")])
    )
    assert catalog.count() == 4


def test_the_same_version_twice_is_ambiguous_and_neither_is_preferred(catalog: Catalog):
    catalog.commit(Change([cmip6(), cmip6(key="cmip6/elsewhere/v20190815")]))
    assert catalog.count() == 2
    with pytest.raises(AmbiguousEntries, match="Pass one value of key: cmip6/Sc"):
        catalog.resolve(dataset="cmip6")


def test_an_entry_whose_version_changes_is_judged_anew(catalog: Catalog):
    first, second = cmip6(version="v1", key="a"), cmip6(version="v2", key="b")
    catalog.commit(Change([first, second]))
    catalog.commit(Change([cmip6(version="v3", key="a")]))
    assert keys(catalog.search()) == ["a"]
    catalog.commit(Change([cmip6(version="", key="a")]))
    assert keys(catalog.search()) == ["a", "b"], "without a version nothing supersedes it"
    catalog.commit(Change([cmip6(version="v1", key="a")]))
    assert keys(catalog.search()) == ["b"]
    catalog.commit(Change([cmip6(version="", key="a")]))
    assert keys(catalog.search()) == ["a", "b"], "and no flag stays behind"


# --- resolve ----------------------------------------------------------------------------------------------------


def test_resolve_gives_every_month_asked_for_in_that_order(filled: Catalog):
    found = filled.resolve(dataset="era5", variable="air_temperature", times=["2011-03", "2011-01"])
    assert [entry.facets["month"] for entry in found] == ["03", "01"]
    assert all(entry.variable == "air_temperature" for entry in found)


def test_a_missing_month_is_refused_with_its_name_and_all_others_missing(filled: Catalog):
    with pytest.raises(MissingEntries) as caught:
        filled.resolve(dataset="era5", variable="air_temperature", times=["2011-12", "2012-01", "2015-07"])
    assert caught.value.missing == (
        "dataset=era5 variable=air_temperature time=2012-01",
        "dataset=era5 variable=air_temperature time=2015-07",
    )
    assert "time=2015-07" in str(caught.value)
    assert "It has 12 of these, 2011-01 until before 2012-01." in str(caught.value), "what there is helps the reader"


def test_never_the_nearest_match(filled: Catalog):
    with pytest.raises(MissingEntries, match="available values of variable are air_pressure, air_temperature"):
        filled.resolve(dataset="era5", variable="air_temp", times=["2011-01"])
    with pytest.raises(MissingEntries, match="available values of dataset are era5"):
        filled.resolve(dataset="era6", variable="air_pressure")
    with pytest.raises(MissingEntries, match="1850-01"):
        filled.resolve(dataset="era5", variable="air_temperature", times=["1850-01"])
    with pytest.raises(MissingEntries, match="No change of a single value gives a match"):
        filled.resolve(dataset="era6", variable="air_temp")


def test_each_asks_for_every_combination_exactly_once(filled: Catalog):
    found = filled.resolve(
        dataset="cmip6", each={"member_id": ["r2i1p1f1", "r1i1p1f1"], "experiment_id": ["ssp245", "ssp585"]}
    )
    assert [(e.facets["member_id"], e.facets["experiment_id"]) for e in found] == [
        ("r2i1p1f1", "ssp245"),
        ("r2i1p1f1", "ssp585"),
        ("r1i1p1f1", "ssp245"),
        ("r1i1p1f1", "ssp585"),
    ]
    with pytest.raises(MissingEntries) as caught:
        filled.resolve(
            dataset="cmip6", experiment_id="ssp245", each={"member_id": ["r1i1p1f1", "r3i1p1f1", "r4i1p1f1"]}
        )
    assert caught.value.missing == (
        "dataset=cmip6 experiment_id=ssp245 member_id=r3i1p1f1",
        "dataset=cmip6 experiment_id=ssp245 member_id=r4i1p1f1",
    )
    assert "available values of member_id are r1i1p1f1, r2i1p1f1" in str(caught.value)


def test_a_request_that_fits_several_is_refused_with_what_would_settle_it(filled: Catalog):
    with pytest.raises(AmbiguousEntries) as caught:
        filled.resolve(dataset="cmip6", member_id="r1i1p1f1")
    assert "Pass one value of experiment_id: ssp245, ssp585" in str(caught.value)
    assert len(caught.value.candidates) == 2
    with pytest.raises(AmbiguousEntries, match="variable: air_pressure, air_temperature"):
        filled.resolve(dataset="era5", times=["2011-01"])


def test_replicas_in_several_regions_count_as_one_the_nearest(filled: Catalog):
    asked = {"dataset": "era5", "variable": "air_temperature", "times": ["2011-01", "2011-02"]}
    filled.commit(
        Change([era5("2011-01", region="us-west-2", key="other/path.nc"), era5("2011-01", region="eu-west-1")])
    )
    with pytest.raises(
        AmbiguousEntries, match=r"is in eu-west-1 and us-east-1 and us-west-2; these are replicas.*near: a list"
    ):
        filled.resolve(**asked)
    with pytest.raises(AmbiguousEntries, match="near has none of them: ap-south-1"):
        filled.resolve(**asked, near=["ap-south-1"])
    for near, regions in (
        (["us-west-2", "us-east-1"], ["us-west-2", "us-east-1"]),
        (["ap-south-1", "us-east-1"], ["us-east-1", "us-east-1"]),
        (["eu-west-1", "us-west-2"], ["eu-west-1", "us-east-1"]),
    ):
        assert [entry.region for entry in filled.resolve(**asked, near=near)] == regions, "February lies in one only"
    (found,) = filled.resolve(dataset="era5", variable="air_temperature", times=["2011-01"], region="us-west-2")
    assert found.region == "us-west-2"
    for wrong in ("us-east-1", ["us-east-1", "us-east-1"]):
        with pytest.raises(CatalogError, match=r"near = .* must be a list of different Regions"):
            filled.resolve(**asked, near=wrong)


@pytest.mark.parametrize(
    "other",
    [
        {"region": "us-east-1", "key": "elsewhere.nc"},
        {"region": "us-west-2", "excerpt": True},
        {"region": "us-west-2", "time_end": 20110115000000, "time_start": 20101201000000},
        {"region": "us-west-2", "facets": {"variable": "air_temperature", "year": "2011", "month": "01", "grid": "n"}},
        {"region": "us-west-2", "version": "v2"},
    ],
)
def test_what_differs_in_more_than_region_and_path_is_no_replica(filled: Catalog, other: dict):
    filled.commit(Change([era5("2011-01", **other)]))
    with pytest.raises(AmbiguousEntries, match="Pass one value of"):
        filled.resolve(
            dataset="era5", variable="air_temperature", each={"month": ["01"]}, near=["us-west-2", "us-east-1"]
        )


def test_two_entries_in_one_region_stay_ambiguous_beside_a_replica(filled: Catalog):
    filled.commit(Change([era5("2011-01", key="elsewhere.nc"), era5("2011-01", region="us-west-2")]))
    with pytest.raises(AmbiguousEntries, match="matches 3 entries"):
        filled.resolve(dataset="era5", variable="air_temperature", times=["2011-01"], near=["us-west-2"])


def test_one_store_that_covers_several_periods_is_given_once(catalog: Catalog):
    catalog.commit(Change([cmip6().with_header({"time_range": [20150101000000, 21010101000000]})]))
    assert len(catalog.resolve(dataset="cmip6", times=["2098-01", "2098-02"])) == 1
    with pytest.raises(MissingEntries, match="time=2101-01"):
        catalog.resolve(dataset="cmip6", times=["2100-12", "2101-01"])


def test_data_without_time_do_not_cover_any(catalog: Catalog):
    catalog.commit(Change([cmip6()]))
    with pytest.raises(MissingEntries, match="without a known time"):
        catalog.resolve(dataset="cmip6", times=["2098"])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"variable": ["a", "b"]}, "for several values write each="),
        ({"times": []}, "times = .* must be a list of at least one"),
        ({"times": "2011-01"}, "times = '2011-01' must be a list"),
        ({"times": ["2011-01", "2011-01"]}, "has a value twice"),
        ({"times": ["July"]}, "'July' is not a period"),
        (
            {"times": ("2011-01", "2011-12")},
            r"times is a list of separate periods; for a range write time=\('2011-01', '2011-12'\)",
        ),
        ({"times": [2011]}, "times holds 2011, which is not text"),
        ({"times": "2011"}, "for one period write time='2011'"),
        ({"time": "2011", "times": ["2011"]}, "time = '2011' and times = .* cannot be combined"),
        ({"time": "July"}, "'July' is not a period"),
        ({"time": 2011}, "neither one period nor a range of two. Write one period, such as time='2020-03'"),
        ({"time": ["2011-01", "2011-12"]}, r"such as time=\('2011-01', '2011-12'\)"),
        ({"time": ("2011-01", "2011-02", "2011-03")}, r"such as time=\('2011-01', '2011-03'\)"),
        ({"time": ("2011-12", "2011-01")}, r"ends before it starts; write time=\('2011-01', '2011-12'\)"),
        ({"each": {"time": ["2011-01"]}}, r"each names time; write times=\['2011-01'\]"),
        ({"variable": "x", "each": {"variable": ["x"]}}, "both as one value and in each"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_words(filled: Catalog, request_: dict, words: str):
    with pytest.raises(CatalogError, match=words):
        filled.resolve(dataset="era5", **request_)


# --- periods ----------------------------------------------------------------------------------------------------

TEMPERATURE = {"dataset": "era5", "variable": "air_temperature"}


def test_an_entry_must_cover_the_whole_period_and_not_a_part_of_it(catalog: Catalog):
    half = era5("2011-01", time_end=20110116000000)
    catalog.commit(
        Change([half, era5("2011-02"), cmip6().with_header({"time_range": [20150116000000, 21001216000000]})])
    )
    for period in ("2011-01", "2011", "2010-12", "2011-01-16", "2011-01-15T12", "2010"):
        found = [e.key for e in catalog.search(time=period, **TEMPERATURE)]
        if period == "2011-01-15T12":
            assert catalog.resolve(times=[period], **TEMPERATURE) == catalog.search(time=period, **TEMPERATURE)
            continue
        assert bool(found) == (period in ("2011-01", "2011")), "what overlaps is found by a search alone"
        with pytest.raises(MissingEntries) as caught:
            catalog.resolve(times=[period], **TEMPERATURE)
        assert caught.value.missing == (f"dataset=era5 variable=air_temperature time={period}",)
    for year in ("2015", "2100"):
        with pytest.raises(MissingEntries, match=f"time={year}-"):
            catalog.resolve(dataset="cmip6", time=year)
        with pytest.raises(MissingEntries, match=f"time={year}"):
            catalog.resolve(dataset="cmip6", times=[year])


def test_a_range_is_all_of_it_in_the_order_of_time(filled: Catalog):
    year = filled.resolve(time=("2011-01", "2011-12"), **TEMPERATURE)
    assert [e.facets["month"] for e in year] == [f"{month:02}" for month in range(1, 13)]
    assert filled.resolve(time="2011", **TEMPERATURE) == year
    assert filled.resolve(time=("2011-03-20", "2011-04"), **TEMPERATURE) == year[2:4], "entries that hold the ends"
    assert filled.resolve(time="2011-03", **TEMPERATURE) == filled.resolve(times=["2011-03"], **TEMPERATURE)
    assert filled.resolve(times=["2011-01", "2011-12"], **TEMPERATURE) == [year[0], year[-1]], "two, and not between"
    (words, replicas), *_ = filled.replicas(time="2011", **TEMPERATURE)
    assert (words, replicas) == ("dataset=era5 variable=air_temperature time=2011-01", (year[0],))


def test_a_hole_in_a_range_is_refused_with_its_name(filled: Catalog):
    filled.commit(Change(removals=[era5(month).id for month in ("2011-03", "2011-06", "2011-07")]))
    for asked in (("2011-01", "2011-12"), ("2010-11", "2012")):
        with pytest.raises(MissingEntries) as caught:
            filled.resolve(time=asked, **TEMPERATURE)
        before, after = (("2010-11 to 2010-12",), ("2012",)) if asked[1] == "2012" else ((), ())
        assert caught.value.missing == tuple(
            f"dataset=era5 variable=air_temperature time={text}"
            for text in (*before, "2011-03", "2011-06 to 2011-07", *after)
        )
    with pytest.raises(MissingEntries, match=r"time=2013 to 2014\. It has 9 of these"):
        filled.resolve(time=("2013", "2014"), **TEMPERATURE)


def test_each_part_of_a_range_is_there_once(filled: Catalog):
    with pytest.raises(AmbiguousEntries, match="Pass one value of variable: air_pressure, air_temperature") as caught:
        filled.resolve(dataset="era5", time="2011")
    assert "month:" not in str(caught.value), "the month is what a range goes over"
    filled.commit(Change([era5("2011-02", key="quarter.nc", time_end=20110501000000)]))
    with pytest.raises(AmbiguousEntries, match=r"time=2011 matches 12 entries|time=2011 matches 2 entries"):
        filled.resolve(time="2011", **TEMPERATURE)
    assert len(filled.resolve(time=("2011-05", "2011-12"), **TEMPERATURE)) == 8, "an overlap elsewhere is no matter"


def test_parts_of_different_series_make_no_range(filled: Catalog):
    filled.commit(Change(removals=[era5(f"2011-{m:02}", "air_pressure").id for m in range(1, 7)]))
    filled.commit(Change(removals=[era5(f"2011-{m:02}").id for m in range(7, 13)]))
    with pytest.raises(AmbiguousEntries, match="Pass one value of variable"):
        filled.resolve(dataset="era5", time="2011")


def test_each_value_gets_the_whole_range(filled: Catalog):
    both = filled.resolve(dataset="era5", each={"variable": ["air_pressure", "air_temperature"]}, time="2011")
    assert [e.variable for e in both] == 12 * ["air_pressure"] + 12 * ["air_temperature"]
    filled.commit(Change(removals=[era5("2011-07").id]))
    with pytest.raises(MissingEntries) as caught:
        filled.resolve(dataset="era5", each={"variable": ["air_pressure", "air_temperature"]}, time="2011")
    assert caught.value.missing == ("dataset=era5 variable=air_temperature time=2011-07",)


def test_parts_of_a_range_may_have_replicas(filled: Catalog):
    filled.commit(Change([era5("2011-02", region="us-west-2")]))
    near = filled.resolve(time=("2011-01", "2011-03"), near=["us-west-2", "us-east-1"], **TEMPERATURE)
    assert [e.region for e in near] == ["us-east-1", "us-west-2", "us-east-1"]


@pytest.mark.parametrize(
    ("calendar", "missing"),
    [
        ("standard", ["2012-02-29"]),
        ("noleap", []),
        ("360_day", ["2011-02-29 to 2011-02-30", "2012-02-29 to 2012-02-30"]),
    ],
)
def test_days_follow_one_another_over_the_end_of_february_as_their_calendar_says(
    catalog: Catalog, calendar: str, missing: list[str]
):
    header = {"coords": {"time": {"attrs": {"units": "days since 2000-01-01", "calendar": calendar}}}}
    for day in ("2011-02-27", "2011-02-28", "2011-03-01", "2012-02-27", "2012-02-28", "2012-03-01"):
        start, end = time_range(day)
        facets = {"year": day[:4], "month": day[5:7], "day": day[8:]}
        made = era5(day[:7], key=day, time_start=start, time_end=end, facets=facets)
        catalog.commit(Change([made.with_header(header)]))
    found = []
    for year in ("2011", "2012"):
        try:
            assert len(catalog.resolve(time=(f"{year}-02-27", f"{year}-03-01"), **TEMPERATURE)) == 3
        except MissingEntries as error:
            found += [words.partition("time=")[2] for words in error.missing]
    assert found == missing


def test_how_to_join_what_several_entries_hold_is_said_as_it_is_typed(filled: Catalog):
    with pytest.raises(AmbiguousEntries) as caught:
        filled.resolve(**TEMPERATURE)
    remedy = str(caught.value).rpartition("write time=")[2]
    assert remedy == "'2011'"
    assert len(filled.resolve(time=literal_eval(remedy), **TEMPERATURE)) == 12
    with pytest.raises(MissingEntries, match="several together do: write time='2011' to join them"):
        filled.resolve(times=["2011"], **TEMPERATURE)
    filled.commit(Change(removals=[era5("2011-07").id]))
    with pytest.raises(AmbiguousEntries) as caught:
        filled.resolve(**TEMPERATURE)
    assert "write time=" not in str(caught.value), "there is a hole"
