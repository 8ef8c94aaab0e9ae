"""What every store of the catalog must do; one suite, a fixture for each store."""

import multiprocessing
import multiprocessing.pool
import os
import pickle
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from catalog_helpers import cmip6, era5, stored

from xdask_pipelines.catalog import Catalog, Entry, ManifestChange, open_catalog
from xdask_pipelines.errors import AmbiguousEntries, CatalogError, MissingEntries, StaleWriter

SPAWN = multiprocessing.get_context("spawn")
ERA5 = {"dataset": "era5", "region": "us-east-1"}
MONTHS = [f"2011-{m:02}" for m in range(1, 13)]


@pytest.fixture(params=["sqlite", pytest.param("opensearch", marks=pytest.mark.opensearch)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a catalog that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/a folder/100%?.sqlite"
    return f"{request.getfixturevalue('search_node')}/t{secrets.token_hex(8)}"


@pytest.fixture
def catalog(address: str) -> Catalog:
    return open_catalog(address)


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """A year of two ERA5 variables, and two members of two experiments."""
    catalog.apply([era5(month, variable) for month in MONTHS for variable in ("air_temperature", "air_pressure")])
    catalog.apply([cmip6(m, x) for m in ("r1i1p1f1", "r2i1p1f1") for x in ("ssp245", "ssp585")])
    return catalog


def keys(entries: list[Entry]) -> list[str]:
    return [entry.key for entry in entries]


# --- empty ------------------------------------------------------------------------------------------------------


def test_a_catalog_that_does_not_exist_yet_is_empty(catalog: Catalog, tmp_path: Path):
    assert catalog.search(dataset="era5", any_facet="x") == []
    assert catalog.count() == 0
    assert catalog.facets("source_id") == {"source_id": {}}
    assert catalog.facets() == {}
    assert catalog.names() == {}
    assert catalog.generation(**ERA5) == 0
    assert catalog.manifest(**ERA5).objects == ()
    assert catalog.tombstones(**ERA5) == []
    with pytest.raises(MissingEntries, match="It is empty: run xdask sync"):
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
        with pytest.raises(
            CatalogError, match=r"No entry has colour; entries can be searched by .*experiment_id.*year"
        ):
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


def test_time_finds_what_overlaps_both_periods_included(filled: Catalog):
    assert filled.count(dataset="era5", time=("2011-03", "2011-05")) == 6
    assert filled.count(time="2011-03-31T23") == 2
    assert filled.count(time="2012") == 0
    assert filled.facets("month", time="2011-12") == {"month": {"12": 2}}
    with pytest.raises(CatalogError, match="ends before it starts"):
        filled.search(time=("2011-05", "2011-03"))


def test_odd_calendars_and_far_years_are_found_by_time(catalog: Catalog):
    far, early, fixed = era5("12000-02"), era5("0001-01"), era5("2011-01", "orog", time_start=None, time_end=None)
    catalog.apply([far, early, fixed])
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
    catalog.apply([era5("2011-07", attributes={"run_id": "abc", "license": "CC-BY-4.0"})])
    assert catalog.count(run_id="abc") == 1
    assert catalog.names()["run_id"] == "attribute"
    assert catalog.names()["month"] == "facet"
    assert catalog.names()["region"] == "field"
    assert "run_id" not in catalog.facets()


@pytest.mark.parametrize(
    "odd",
    ["with space", "line\nbreak", "100%", "per%20cent", "quo'te\"", "semi;colon", "ünï", "日本", "-- drop", "k" * 900],
)
def test_odd_names_go_in_and_come_out_unchanged(catalog: Catalog, odd: str):
    entry = era5("2011-07", key=f"era5-pds/{odd}/x.nc", facets={"odd": odd}, attributes={odd: odd}, part=odd)
    catalog.apply([entry])
    assert catalog.search(odd=odd)[0].key == entry.key
    assert catalog.count(key=entry.key, part=odd, **{odd: odd}) == 1
    assert catalog.facets("odd") == {"odd": {odd: 1}}


def test_what_comes_out_is_what_went_in_with_its_generation(catalog: Catalog):
    entry = era5("2011-07", header={"dims": {"time": 744}}, attributes={"run_id": "r"}, excerpt=True)
    generation = catalog.apply([entry])
    (found,) = catalog.search()
    assert found.generation == generation
    assert found.header == {"dims": {"time": 744}}
    assert found.digest == entry.digest
    assert found.excerpt


# --- versions ---------------------------------------------------------------------------------------------------


def test_the_latest_version_wins_and_superseded_ones_stay_searchable(catalog: Catalog):
    catalog.apply([cmip6(version="v20190815"), cmip6(version="v20200101"), cmip6(version="v9")])
    assert [entry.version for entry in catalog.search()] == ["v20200101"]
    assert catalog.count(superseded=True) == 3
    assert catalog.facets("version") == {"version": {"v20200101": 1}}
    assert [entry.version for entry in catalog.search(version="v9")] == ["v9"], "a version that is named is meant"
    assert catalog.resolve(dataset="cmip6", version="v20190815")[0].version == "v20190815"
    assert catalog.resolve(dataset="cmip6")[0].version == "v20200101"


def test_when_the_latest_version_goes_the_one_before_is_current_again(catalog: Catalog):
    catalog.apply([cmip6(version="v1"), cmip6(version="v2")])
    catalog.apply([], [cmip6(version="v2").id])
    assert [entry.version for entry in catalog.search()] == ["v1"]
    catalog.apply([cmip6(version="v3")])
    assert [entry.version for entry in catalog.search()] == ["v3"]
    catalog.apply([], [cmip6(version="v1").id])
    assert catalog.count(superseded=True) == 1
    catalog.apply([cmip6(version="v0")])
    assert [entry.version for entry in catalog.search()] == ["v3"], "a row used again carries no old flag"


def test_versions_of_different_things_do_not_supersede_each_other(catalog: Catalog):
    catalog.apply([cmip6("r1i1p1f1", version="v1"), cmip6("r2i1p1f1", version="v2")])
    catalog.apply([cmip6("r1i1p1f1", version="v2", region="us-east-1"), cmip6("r1i1p1f1", version="v5", part="2011")])
    assert catalog.count() == 4


def test_the_same_version_twice_is_ambiguous_and_neither_is_preferred(catalog: Catalog):
    catalog.apply([cmip6(), cmip6(key="cmip6/elsewhere/v20190815")])
    assert catalog.count() == 2
    with pytest.raises(AmbiguousEntries, match="Name one value of key: cmip6/Sc"):
        catalog.resolve(dataset="cmip6")


def test_an_entry_whose_version_changes_is_judged_anew(catalog: Catalog):
    first, second = cmip6(version="v1", key="a"), cmip6(version="v2", key="b")
    catalog.apply([first, second])
    catalog.apply([cmip6(version="v3", key="a")])
    assert keys(catalog.search()) == ["a"]
    catalog.apply([cmip6(version="", key="a")])
    assert keys(catalog.search()) == ["a", "b"], "without a version nothing supersedes it"
    catalog.apply([cmip6(version="v1", key="a")])
    assert keys(catalog.search()) == ["b"]
    catalog.apply([cmip6(version="", key="a")])
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
    assert "It holds 12 of these, 2011-01 until before 2012-01." in str(caught.value), "what there is helps the reader"


def test_never_the_nearest_match(filled: Catalog):
    with pytest.raises(MissingEntries, match="variable could be air_pressure, air_temperature"):
        filled.resolve(dataset="era5", variable="air_temp", times=["2011-01"])
    with pytest.raises(MissingEntries, match="dataset could be era5"):
        filled.resolve(dataset="era6", variable="air_pressure")
    with pytest.raises(MissingEntries, match="1850-01"):
        filled.resolve(dataset="era5", variable="air_temperature", times=["1850-01"])
    with pytest.raises(MissingEntries, match="No other value of any one name would do"):
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
    assert "member_id could be r1i1p1f1, r2i1p1f1" in str(caught.value)


def test_a_request_that_fits_several_is_refused_with_what_would_settle_it(filled: Catalog):
    with pytest.raises(AmbiguousEntries) as caught:
        filled.resolve(dataset="cmip6", member_id="r1i1p1f1")
    assert "Name one value of experiment_id: ssp245, ssp585" in str(caught.value)
    assert len(caught.value.candidates) == 2
    with pytest.raises(AmbiguousEntries, match="variable: air_pressure, air_temperature"):
        filled.resolve(dataset="era5", times=["2011-01"])


def test_replicas_in_several_regions_count_as_one_the_nearest(filled: Catalog):
    asked = {"dataset": "era5", "variable": "air_temperature", "times": ["2011-01", "2011-02"]}
    filled.apply([era5("2011-01", region="us-west-2", key="other/path.nc"), era5("2011-01", region="eu-west-1")])
    with pytest.raises(
        AmbiguousEntries, match=r"held in eu-west-1 and us-east-1 and us-west-2; they are replicas.*near: the"
    ):
        filled.resolve(**asked)
    with pytest.raises(AmbiguousEntries, match="near names none of them: ap-south-1"):
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
        with pytest.raises(CatalogError, match=r"near = .* must be a list of Regions, each once"):
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
    filled.apply([era5("2011-01", **other)])
    with pytest.raises(AmbiguousEntries, match="Name one value of"):
        filled.resolve(
            dataset="era5", variable="air_temperature", each={"month": ["01"]}, near=["us-west-2", "us-east-1"]
        )


def test_two_entries_in_one_region_stay_ambiguous_beside_a_replica(filled: Catalog):
    filled.apply([era5("2011-01", key="elsewhere.nc"), era5("2011-01", region="us-west-2")])
    with pytest.raises(AmbiguousEntries, match="fits 3 entries"):
        filled.resolve(dataset="era5", variable="air_temperature", times=["2011-01"], near=["us-west-2"])


def test_one_store_that_covers_several_periods_is_given_once(catalog: Catalog):
    catalog.apply([cmip6().with_header({"time_range": [20150101000000, 21010101000000]})])
    assert len(catalog.resolve(dataset="cmip6", times=["2098-01", "2098-02"])) == 1
    with pytest.raises(MissingEntries, match="time=2101-01"):
        catalog.resolve(dataset="cmip6", times=["2100-12", "2101-01"])


def test_data_without_time_do_not_cover_any(catalog: Catalog):
    catalog.apply([cmip6()])
    with pytest.raises(MissingEntries, match="without a known time"):
        catalog.resolve(dataset="cmip6", times=["2098"])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"variable": ["a", "b"]}, "ask for several values with each="),
        ({"times": []}, "times = .* must be a list of at least one"),
        ({"times": "2011-01"}, "times = '2011-01' must be a list"),
        ({"times": ["2011-01", "2011-01"]}, "names a value twice"),
        ({"times": ["July"]}, "'July' is not a period"),
        ({"variable": "x", "each": {"variable": ["x"]}}, "both as one value and in each"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_words(filled: Catalog, request_: dict, words: str):
    with pytest.raises(CatalogError, match=words):
        filled.resolve(dataset="era5", **request_)


# --- apply ------------------------------------------------------------------------------------------------------


def test_generations_grow_over_all_places_and_each_place_knows_its_own(catalog: Catalog):
    first = catalog.apply([era5("2011-01")])
    second = catalog.apply([cmip6()])
    assert 0 < first < second
    assert catalog.generation(**ERA5) == first
    assert catalog.generation("cmip6", "us-west-2") == second
    assert catalog.apply() == 0
    assert catalog.apply(**ERA5) == first, "nothing to do is no commit"


def test_an_entry_written_again_replaces_itself_and_leaves_no_trace_in_facets(catalog: Catalog):
    catalog.apply([era5("2011-01", attributes={"run_id": "a", "note": "x"})])
    catalog.apply([era5("2011-01", attributes={"run_id": "b"})])
    assert catalog.count() == 1
    assert catalog.count(run_id="a") == 0
    assert catalog.facets("run_id") == {"run_id": {"b": 1}}
    assert "note" not in catalog.names()


def test_removed_entries_leave_a_tombstone_until_they_are_written_again(catalog: Catalog):
    entry = era5("2011-01")
    catalog.apply([entry, era5("2011-02")])
    generation = catalog.apply([], [entry.id])
    assert keys(catalog.search()) == [era5("2011-02").key]
    assert catalog.facets("month") == {"month": {"02": 1}}
    (stone,) = catalog.tombstones(**ERA5)
    assert (stone.id, stone.key, stone.generation) == (entry.id, entry.key, generation)
    catalog.apply([entry])
    assert catalog.tombstones(**ERA5) == []
    assert catalog.count() == 2


def test_a_place_freed_by_a_removal_can_be_taken_in_the_same_commit(catalog: Catalog):
    catalog.apply([era5("2011-01"), era5("2011-02")])
    catalog.apply([era5("2011-03"), era5("2011-04")], [era5("2011-02").id])
    assert catalog.facets("month") == {"month": {"01": 1, "03": 1, "04": 1}}
    assert catalog.count(month="02") == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda c: c.apply([era5("2011-05")], ["0" * 32]),
        lambda c: c.apply([era5("2011-05"), era5("2011-05")]),
        lambda c: c.apply([era5("2011-05")], [era5("2011-05").id]),
        lambda c: c.apply([], [era5("2011-01").id] * 2),
        lambda c: c.apply([era5("2011-05"), cmip6()], **ERA5),
        lambda c: c.apply([era5("2011-05")], [cmip6().id], **ERA5),
        lambda c: c.apply([era5("2011-05")], dataset="era5"),
        lambda c: c.apply([era5("2011-05")], base_generation=1),
        lambda c: c.apply([era5("2011-05")], expected_entries=7, **ERA5),
        lambda c: c.apply([era5("2011-05")], lease=c.lease("cmip6", "us-west-2", "me"), **ERA5),
        lambda c: c.apply([era5("2011-05")], manifest=ManifestChange(put=[stored("a")])),
    ],
)
def test_a_commit_that_cannot_be_right_writes_nothing(catalog: Catalog, write: Callable[[Catalog], int]):
    catalog.apply([era5("2011-01"), cmip6()])
    before = catalog.search(), catalog.generation(**ERA5), catalog.facets()
    with pytest.raises(CatalogError):
        write(catalog)
    assert (catalog.search(), catalog.generation(**ERA5), catalog.facets()) == before


def test_a_writer_that_builds_on_an_old_generation_writes_nothing(catalog: Catalog):
    base = catalog.apply([era5("2011-01")])
    catalog.apply([era5("2011-02")])
    with pytest.raises(StaleWriter, match=r"is at generation 2, not 1 .* Nothing was written"):
        catalog.apply([era5("2011-03")], base_generation=base, **ERA5)
    assert catalog.count() == 2
    catalog.apply([cmip6()])
    assert catalog.apply([era5("2011-03")], base_generation=2, **ERA5) == 4, "other places do not matter"


def test_manifests_are_kept_for_each_place_sorted(catalog: Catalog):
    place = {"dataset": "era5", "region": "us-east-1"}
    catalog.apply([era5("2011-01")], manifest=ManifestChange(put=[stored("b"), stored("a\nb"), stored("ü")]), **place)
    catalog.apply([era5("2011-02")], manifest=ManifestChange(put=[stored("b", 99)], drop=["a\nb"]), **place)
    committed = catalog.manifest(**place)
    assert list(committed.objects) == [stored("b", 99), stored("ü")]
    assert committed.generation == 2
    assert committed.digests == {e.id: e.digest for e in (era5("2011-01"), era5("2011-02"))}
    assert catalog.manifest("era5", "us-west-2").objects == []


# --- leases -----------------------------------------------------------------------------------------------------


def test_a_second_sync_is_refused_while_the_first_shows_life(catalog: Catalog):
    lease = catalog.lease(owner="first", **ERA5)
    for _ in range(3):
        with pytest.raises(StaleWriter, match="is being synced by first"):
            catalog.lease(owner="second", **ERA5)
        catalog.renew(lease)
    assert catalog.lease("era5", "us-west-2", "second").owner == "second", "another place is free"
    catalog.apply([era5("2011-01")], lease=lease, base_generation=0, **ERA5)
    assert catalog.lease(owner="second", **ERA5).generation == 1


def test_a_dead_sync_s_lease_passes_to_whoever_asks_twice_and_the_dead_can_write_no_more(catalog: Catalog):
    dead = catalog.lease(owner="dead", **ERA5)
    with pytest.raises(StaleWriter):
        catalog.lease(owner="next", **ERA5)
    lease = catalog.lease(owner="next", **ERA5)
    with pytest.raises(StaleWriter, match="dead has lost its lease on era5 in us-east-1: next holds it now"):
        catalog.apply([era5("2011-01")], lease=dead, **ERA5)
    with pytest.raises(StaleWriter):
        catalog.renew(dead)
    catalog.release(dead)
    assert catalog.count() == 0
    assert catalog.apply([era5("2011-01")], lease=lease, **ERA5) > 0


def test_two_who_ask_in_turn_do_not_take_over_from_each_other_s_question(catalog: Catalog):
    catalog.lease(owner="holder", **ERA5)
    for owner in ("second", "third", "second"):
        with pytest.raises(StaleWriter):
            catalog.lease(owner=owner, **ERA5)


def test_any_commit_ends_a_lease_and_the_same_owner_may_take_it_anew(catalog: Catalog):
    lease = catalog.lease(owner="me", **ERA5)
    again = catalog.lease(owner="me", **ERA5)
    with pytest.raises(StaleWriter, match="lost its lease"):
        catalog.renew(lease)
    catalog.apply([era5("2011-01")])
    with pytest.raises(StaleWriter, match="a commit ended it"):
        catalog.apply([era5("2011-02")], lease=again, **ERA5)
    catalog.release(catalog.lease(owner="other", **ERA5))
    assert catalog.lease(owner="me", **ERA5).generation == 1


# --- many writers and readers -----------------------------------------------------------------------------------


def _write_many(address: str, writer: int, commits: int) -> list[int]:
    catalog = open_catalog(address)
    return [
        catalog.apply([era5("2011-07", f"v{writer}", key=f"w{writer}/{i}", facets={"turn": str(i)})])
        for i in range(commits)
    ]


def _end(pool: multiprocessing.pool.Pool) -> None:
    """Let its processes end by themselves: one that is terminated while it measures coverage may hang."""
    pool.close()
    pool.join()


def _count_up(address: str, times: int) -> int:
    """Add one to a number kept in the catalog, as often as asked, and retry whenever another was faster."""
    catalog, stale = open_catalog(address), 0
    done = 0
    while done < times:
        base = catalog.generation("counter", "r")
        now = int(catalog.search(dataset="counter")[0].attributes["n"])
        if catalog.generation("counter", "r") != base:
            continue
        try:
            one_more = era5("2011-07", dataset="counter", region="r", attributes={"n": str(now + 1)})
            catalog.apply([one_more], dataset="counter", region="r", base_generation=base)
            done += 1
        except StaleWriter:
            stale += 1
    return stale


def test_four_processes_with_many_commits_each_lose_none(address: str):
    commits = 1000 if address.startswith("sqlite") else 50  # each commit of a node is a dozen requests
    with SPAWN.Pool(4) as pool:
        generations = pool.starmap(_write_many, [(address, writer, commits) for writer in range(4)])
        _end(pool)
    catalog = open_catalog(address)
    assert sorted(g for one in generations for g in one) == list(range(1, 4 * commits + 1)), "each its own generation"
    assert all(one == sorted(one) for one in generations)
    assert catalog.count() == 4 * commits
    assert catalog.facets("variable") == {"variable": {f"v{writer}": commits for writer in range(4)}}
    assert set(catalog.facets("turn")["turn"].values()) == {4}


def test_read_modify_write_by_three_processes_loses_no_update(address: str):
    catalog = open_catalog(address)
    catalog.apply([era5("2011-07", dataset="counter", region="r", attributes={"n": "0"})])
    with SPAWN.Pool(3) as pool:
        pool.starmap(_count_up, [(address, 40)] * 3)
        _end(pool)
    assert catalog.search(dataset="counter")[0].attributes["n"] == "120"


def test_a_reader_sees_whole_commits_only(catalog: Catalog):
    """Each commit moves two entries to a new tag: no reader may see one moved and the other not."""
    catalog.apply([era5("2011-01", attributes={"tag": "0"}), era5("2011-02", attributes={"tag": "0"})])
    stop = threading.Event()
    torn: list[dict[str, int]] = []

    def read() -> None:
        while not stop.is_set():
            tags = catalog.facets("tag")["tag"]
            if list(tags.values()) != [2]:
                torn.append(tags)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for i in range(1, 60):
        catalog.apply([era5(month, attributes={"tag": str(i)}) for month in ("2011-01", "2011-02")])
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_a_catalog_crosses_to_another_process_and_survives_a_fork(filled: Catalog):
    assert pickle.loads(pickle.dumps(filled)).count() == 28
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            filled.apply([era5("2012-01")])
            os.write(write_end, str(filled.count()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 10) == b"29"
    assert filled.count() == 29
    filled.apply([era5("2012-02")])
    assert filled.count() == 30


def test_more_entries_than_one_block_or_page_are_counted_and_found(catalog: Catalog, address: str):
    """SQLite: bits come in blocks of 65,536, dense and sparse terms on both sides of the first one's end. A node gives
    at most 10,000 hits at a time."""
    number = 66_000 if address.startswith("sqlite") else 11_000
    rare = -(-number // 4999)
    catalog.apply(
        era5("2011-07", key=f"k/{i:06}", facets={"odd": str(i % 2), "rare": "yes" if i % 4999 == 0 else "no"})
        for i in range(number)
    )
    assert catalog.count() == number
    assert keys(catalog.search(limit=10_500)) == [f"k/{i:06}" for i in range(10_500)]
    assert catalog.facets("odd", "rare") == {
        "odd": {"0": number // 2, "1": number // 2},
        "rare": {"no": number - rare, "yes": rare},
    }
    assert keys(catalog.search(rare="yes", odd="0")) == [f"k/{i:06}" for i in range(0, number, 9998)]
    assert keys(catalog.search(rare="yes", odd="1")) == [f"k/{i:06}" for i in range(4999, number, 9998)]
    catalog.apply([], [e.id for e in catalog.search(rare="yes")])
    assert catalog.facets("rare") == {"rare": {"no": number - rare}}
