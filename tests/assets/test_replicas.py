"""Where data that several Regions hold are read: least is shipped, at the topology's prices and links."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.catalog_helpers import cmip6, era5
from xdask_pipelines.assets.replicas import choose
from xdask_pipelines.assets.source import Source
from xdask_pipelines.catalog import Entry
from xdask_pipelines.errors import AmbiguousEntries
from xdask_pipelines.topology import Topology

CLIENT, EAST, WEST, TOKYO = "eu-west-2", "us-east-1", "us-west-2", "ap-northeast-1"
TOPOLOGY = Topology.model_validate(
    yaml.safe_load(
        f"""
        client: {{region: {CLIENT}, cidr: 10.0.0.0/16}}
        workers:
          - {{region: {EAST}, cidr: 10.1.0.0/16}}
          - {{region: {WEST}, cidr: 10.2.0.0/16}}
          - {{region: {TOKYO}, cidr: 10.3.0.0/16}}
        links: [{{between: [{TOKYO}, {WEST}], mbit: 5000}}]
        """
    )
)


def held(*regions: str, size: int = 1000, **changes: Any) -> tuple[Entry, ...]:
    return tuple(era5("2011-01", region=r, size_bytes=size, **changes) for r in regions)


def chosen(**sources: list[tuple[Entry, ...]]) -> dict[str, list[str]]:
    choice = choose(TOPOLOGY, sources)
    return {name: [choice.of(group).region for group in groups] for name, groups in sources.items()}


def test_what_can_be_read_in_one_region_is() -> None:
    assert chosen(a=[held(EAST, WEST)], b=[held(WEST)]) == {"a": [WEST], "b": [WEST]}
    assert chosen(a=[held(EAST, WEST)], b=[held(WEST, TOKYO)]) == {"a": [WEST], "b": [WEST]}
    assert chosen(a=[held(EAST, WEST)], b=[held(EAST, WEST)]) == {"a": [EAST], "b": [EAST]}, "a tie goes by name"
    months = [held(EAST, WEST), held(WEST), held(EAST, WEST)]
    assert chosen(a=months) == {"a": [WEST, WEST, WEST]}, "for the whole job, not for each month by itself"


def test_the_side_that_holds_most_stays_where_it_is() -> None:
    assert chosen(a=[held(EAST, WEST, size=10)], b=[held(EAST, size=5)], c=[held(WEST, size=900)])["a"] == [WEST]
    assert chosen(a=[held(EAST, WEST, size=10)], b=[held(EAST, size=900)], c=[held(WEST, size=5)])["a"] == [EAST]


def test_prices_decide_before_links_and_links_before_names() -> None:
    big = held(TOKYO, size=10**9)
    assert TOPOLOGY.price(EAST, TOKYO) == TOPOLOGY.price(WEST, TOKYO)
    assert chosen(a=[held(EAST, WEST, size=10**6)], b=[big])["a"] == [WEST], "the faster link at an equal price"
    assert TOPOLOGY.price(TOKYO, EAST) > TOPOLOGY.price(WEST, EAST)
    assert chosen(a=[held(TOKYO, WEST, size=10**6)], b=[held(EAST, size=10**9)])["a"] == [WEST]


def test_upstream_results_count_and_grids_do_not() -> None:
    both = held(EAST, WEST)
    assert choose(TOPOLOGY, {"a": [both]}, [cmip6(size_bytes=50)]).of(both).region == WEST
    grid = {"a": [both], "g": [held(TOKYO, size=10**12)]}
    assert choose(TOPOLOGY, grid, held(WEST, size=5), unread={"g"}).of(both).region == WEST


def test_the_choice_is_said_in_words_only_where_there_was_one() -> None:
    model = (cmip6(region=WEST, size_bytes=5),)
    said = choose(TOPOLOGY, {"a": [held(EAST, WEST)], "b": [model]}).said
    assert said == ("era5 is held in us-east-1 and us-west-2; read in us-west-2, where cmip6 is",)
    assert choose(TOPOLOGY, {"a": [held(EAST)], "b": [model]}).said == ()
    assert choose(TOPOLOGY, {"a": [held(EAST, TOKYO, WEST)]}).said == (
        "era5 is held in ap-northeast-1, us-east-1 and us-west-2; read in ap-northeast-1",
    )


def test_replicas_in_regions_that_left_the_topology_are_not_read() -> None:
    gone = held("sa-east-1", "ca-central-1")
    assert chosen(a=[held("sa-east-1", WEST)]) == {"a": [WEST]}
    with pytest.raises(AmbiguousEntries, match=r"none of which is a Region of regions\.yaml.*xdask catalog forget"):
        choose(TOPOLOGY, {"a": [gone]})


def test_a_version_does_not_depend_on_which_replica_is_read_and_follows_each() -> None:
    source = Source("era5")
    same, other = held(EAST, WEST), (*held(EAST), *held(WEST, etag="other"))
    assert source.version_of(same) == source.version_of(held(EAST)) == "e"
    assert source.version_of(other) == source.version_of(other[::-1]) not in ("e", "other")
