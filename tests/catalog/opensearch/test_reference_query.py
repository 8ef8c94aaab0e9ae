"""Two ways to ask the same catalog: "what is most like this", as a search engine answers, and "exactly this or nothing".

The first is what a fuzzy or nearest query with ``size: 1`` does. It lives in this test only, to show what it would answer.
"""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.support.catalog_helpers import cmip6, era5
from tests.support.node_requests import ask
from xdask_pipelines.catalog import Catalog, Change, Entry
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.errors import AmbiguousEntries, MissingEntries

HELD = [
    *(era5(f"2011-{month:02}", name) for month in range(1, 13) for name in ("air_temperature", "air_pressure")),
    era5("2015-07", "air_pressure"),
    *(cmip6(member, "ssp245") for member in ("r1i1p1f1", "r2i1p1f1", "r3i1p1f1")),
]


@pytest.fixture
def held(catalog: Catalog) -> Catalog:
    """A year of two variables; a later month of one of them; three members of a model."""
    catalog.commit(Change(HELD))
    return catalog


def nearest_hit(catalog: Catalog, month: str, **facets: str) -> Entry:
    """All that fits but for time, the nearest first, ``size: 1``: there is always an answer."""
    wanted, _ = time_range(month)
    return min(catalog.search(**facets), key=lambda entry: abs((entry.time_start or 0) - wanted))


def first_hit(catalog: Catalog, **facets: str) -> Entry:
    """Any that fits, ``size: 1``: there is never more than one answer."""
    return catalog.search(limit=1, **facets)[0]


def test_a_month_that_is_missing_is_another_month_to_one_and_an_error_with_its_name_to_the_other(held: Catalog):
    asked = {"dataset": "era5", "variable": "air_temperature"}
    assert nearest_hit(held, "1850-01", **asked).facets["year"] == "2011", "161 years beside what was asked"
    with pytest.raises(MissingEntries) as caught:
        held.resolve(times=["1850-01"], **asked)
    assert caught.value.missing == ("dataset=era5 variable=air_temperature time=1850-01",)
    assert "It has 12 of these, 2011-01 until before 2012-01" in str(caught.value)


def test_a_gap_in_a_year_is_filled_by_one_and_named_by_the_other(held: Catalog):
    held.commit(Change(removals=[era5("2011-07").id]))
    asked = {"dataset": "era5", "variable": "air_temperature"}
    months = [f"2011-{month:02}" for month in range(1, 13)]
    answers = [nearest_hit(held, month, **asked).facets["month"] for month in months]
    assert answers.count("06") + answers.count("08") == 3, "a mean over the year would count a month twice"
    with pytest.raises(MissingEntries) as caught:
        held.resolve(times=months, **asked)
    assert caught.value.missing == ("dataset=era5 variable=air_temperature time=2011-07",)


def test_a_member_that_is_not_named_is_chosen_by_one_and_asked_for_by_the_other(held: Catalog):
    asked = {"dataset": "cmip6", "experiment_id": "ssp245", "variable": "tas"}
    assert first_hit(held, **asked).facets["member_id"] == "r1i1p1f1", "nobody asked for this one"
    with pytest.raises(AmbiguousEntries) as caught:
        held.resolve(**asked)
    assert len(caught.value.candidates) == 3
    assert "Pass one value of member_id: r1i1p1f1, r2i1p1f1, r3i1p1f1" in str(caught.value)
    (one,) = held.resolve(member_id="r2i1p1f1", **asked)
    assert one.facets["member_id"] == "r2i1p1f1"


@pytest.mark.opensearch
def test_a_fuzzy_query_answers_with_another_variable_or_another_century(search_node: str):
    index = f"/likeness-{uuid4().hex}"

    def likest(words: str) -> str:
        query = {"multi_match": {"query": words, "fields": ["key", "variable"], "fuzziness": "AUTO"}}
        body = json.dumps({"size": 1, "query": query})
        (hit,) = ask(search_node, "POST", f"{index}/_search", body)["hits"]["hits"]
        return str(hit["_source"]["key"])

    lines = [
        json.dumps(line)
        for e in HELD
        if e.dataset == "era5"
        for line in ({"index": {}}, {"key": e.key, "variable": e.variable})
    ]
    try:
        ask(search_node, "POST", f"{index}/_bulk?refresh=true", "\n".join(lines) + "\n")
        assert likest("2015/07/data/air_temperature.nc") == "era5-pds/2011/07/data/air_temperature.nc", (
            "2011 is like 2015"
        )
        assert likest("1850/01/data/air_temperature.nc") == "era5-pds/2011/01/data/air_temperature.nc"
        assert likest("2011/07/data/sea_surface_temperature.nc").startswith("era5-pds/2011/07/data/air_")
    finally:
        ask(search_node, "DELETE", index)
