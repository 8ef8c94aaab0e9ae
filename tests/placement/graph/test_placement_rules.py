"""The rules of placement on small graphs written by hand: no cluster, no Dask."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdask_pipelines.placement.graph.homes import NOWHERE
from xdask_pipelines.placement.graph.placement_rules import Home, TaskNode, cheapest, decide, is_barrier, topological

EAST, WEST, NORTH = "east", "west", "north"


def graph(
    needs: Mapping[str, Collection[str]],
    reads: Mapping[str, str] | None = None,
    pins: Mapping[str, str] | None = None,
    chosen: Mapping[str, str] | None = None,
) -> dict[str, TaskNode]:
    """Tasks by key, in topological order, from what each needs."""
    users = {key: [user for user in needs if key in needs[user]] for key in needs}
    return {
        key: TaskNode(
            frozenset({reads[key]}) if key in (reads or {}) else NOWHERE,  # type: ignore[index]
            frozenset({pins[key]}) if key in (pins or {}) else NOWHERE,  # type: ignore[index]
            needs[key],
            users[key],
            (chosen or {}).get(key),
        )
        for key in topological(needs, users)
    }


def regions(nodes: Mapping[str, TaskNode], *wanted: str) -> dict[str, str | None]:
    return {str(key): home.region for key, home in decide(nodes, set(wanted)).items()}


def test_work_on_data_of_one_region_stays_there() -> None:
    nodes = graph({"a": [], "b": [], "sum": ["a", "b"], "mean": ["sum"]}, reads={"a": EAST, "b": EAST})
    assert set(regions(nodes, "mean").values()) == {EAST}


def test_a_task_with_data_of_two_regions_is_late_and_so_is_what_follows() -> None:
    nodes = graph({"a": [], "b": [], "minus": ["a", "b"], "mean": ["minus"]}, reads={"a": EAST, "b": WEST})
    found = decide(nodes, {"mean"})
    assert found["minus"] == Home(frozenset({EAST, WEST}), None, late=True)
    assert found["mean"].late


def test_what_was_chosen_for_a_whole_graph_holds() -> None:
    nodes = graph(
        {"a": [], "b": [], "minus": ["a", "b"], "mean": ["minus"]},
        reads={"a": EAST, "b": WEST},
        chosen={"minus": WEST, "mean": NORTH},
    )
    assert regions(nodes, "mean") == {"a": EAST, "b": WEST, "minus": WEST, "mean": NORTH}


def test_a_read_is_never_moved_by_a_choice() -> None:
    assert regions(graph({"a": []}, reads={"a": EAST}, chosen={"a": WEST}), "a") == {"a": EAST}


def test_tasks_without_data_follow_their_users_and_are_neutral_where_these_differ() -> None:
    needs = {"mask": [], "weights": [], "a": ["mask"], "b": ["mask", "weights"], "c": ["weights"]}
    nodes = graph(needs, reads={"a": EAST, "b": EAST, "c": WEST})
    found = decide(nodes, {"a", "b", "c"})
    assert found["mask"].region == EAST
    assert found["weights"] == Home(NOWHERE, None)


def test_a_result_is_not_drawn_to_the_region_of_a_task_that_uses_it() -> None:
    nodes = graph({"mask": [], "a": ["mask"]}, reads={"a": EAST})
    assert regions(nodes, "a")["mask"] == EAST
    assert regions(nodes, "a", "mask")["mask"] is None


def test_a_pin_decides_what_only_it_needs_and_what_comes_of_it() -> None:
    needs = {"a": [], "b": [], "minus": ["a", "b"], "pin": ["minus"], "mean": ["pin"]}
    nodes = graph(needs, reads={"a": EAST, "b": WEST}, pins={"pin": NORTH})
    found = decide(nodes, {"mean"})
    assert found["minus"].region == NORTH
    assert found["mean"] == Home(frozenset({NORTH}), NORTH)


def test_reads_below_a_pin_stay_at_home() -> None:
    nodes = graph({"a": [], "max": ["a"], "pin": ["max"]}, reads={"a": EAST}, pins={"pin": WEST})
    assert regions(nodes, "pin") == {"a": EAST, "max": EAST, "pin": WEST}


def test_a_barrier_is_where_most_pieces_are_or_where_its_users_were_chosen() -> None:
    barrier = "shuffle-barrier-1"
    assert is_barrier(barrier)
    needs = {"a": [], "b": [], "c": [], barrier: ["a", "b", "c"], "out": [barrier]}
    reads = {"a": WEST, "b": EAST, "c": WEST}
    assert regions(graph(needs, reads), "out")[barrier] == WEST
    assert regions(graph(needs, reads, chosen={"out": NORTH}), "out")[barrier] == NORTH


def test_neighbours_of_earlier_submissions_count() -> None:
    persisted = Home(frozenset({WEST}), WEST)
    nodes = {"mean": TaskNode(NOWHERE, NOWHERE, ["persisted"], [])}
    assert decide(nodes, {"mean"}, {"persisted": persisted}.get)["mean"] == persisted


def price(src: str, dst: str) -> float:
    return 0.0 if src == dst else {EAST: 1.0, WEST: 2.0, NORTH: 3.0}[src]


def test_the_cheapest_region_is_where_the_dearest_bytes_are() -> None:
    assert cheapest([(100, [EAST]), (60, [WEST])], price) == WEST  # 100 against 120
    assert cheapest([(100, [EAST]), (40, [WEST])], price) == EAST
    assert cheapest([(100, [EAST, WEST]), (1, [WEST])], price) == WEST
    assert cheapest([(100, [])], price) is None


def test_of_regions_that_cost_the_same_the_first_by_name_is_taken() -> None:
    def even(src: str, dst: str) -> float:
        return float(src != dst)

    assert cheapest([(5, [WEST]), (5, [EAST])], even) == EAST


def test_only_regions_with_a_pool_are_candidates_where_there_are_any() -> None:
    assert cheapest([(100, [EAST]), (60, [WEST])], price, among=[EAST]) == EAST
    assert cheapest([(100, [EAST])], price, among=[WEST, NORTH]) == NORTH  # no input is at a pool


@given(st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from([[EAST], [WEST], [NORTH], [EAST, WEST]])), max_size=8))
def test_no_region_is_cheaper_and_the_order_of_inputs_does_not_matter(inputs: list[tuple[int, list[str]]]) -> None:
    def cost(dst: str) -> float:
        return sum(min(price(src, dst) for src in held) * nbytes for nbytes, held in inputs)

    found = cheapest(inputs, price)
    assert found == cheapest(inputs[::-1], price)
    if inputs:
        assert found is not None
        assert cost(found) == pytest.approx(min(cost(r) for _, held in inputs for r in held))


def test_an_order_puts_each_task_after_those_it_needs() -> None:
    needs = {"d": ["b", "c"], "b": ["a"], "c": ["a", "elsewhere"], "a": []}
    users = {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": ["another submission"]}
    order = topological(needs, users)
    assert sorted(map(str, order)) == ["a", "b", "c", "d"]
    assert order[0] == "a"
    assert order[-1] == "d"
