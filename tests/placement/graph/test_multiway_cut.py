"""The multiway cut that assigns layers to Regions, against all assignments there are."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines.placement.graph import multiway_cut
from xdask_pipelines.placement.graph.multiway_cut import Net, least_cut

EVEN = 1.0 - np.eye(3)
UNEVEN = np.array([[0, 1, 4], [2, 0, 1], [3, 5, 0.0]])


def cost(where: list[int], nets: list[Net], price: np.ndarray) -> float:
    return sum(
        net.nbytes * price[where[net.source], region]
        for net in nets
        for region in {where[user] for user in net.users} - {where[net.source]}
    )


def least(nodes: int, fixed: dict[int, int], nets: list[Net], price: np.ndarray) -> float:
    allowed = sorted({fixed[net.source] for net in nets if net.source in fixed}) or [0]
    ranges = [[fixed[node]] if node in fixed else allowed for node in range(nodes)]
    return min(cost(list(where), nets, price) for where in product(*ranges))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, dict[int, int], list[Net]]:
    """Three sources, one in each Region, and up to five nodes that take from earlier ones."""
    nodes = draw(st.integers(4, 8))
    nets = []
    for source in range(nodes):
        for _ in range(draw(st.integers(0, 2))):
            later = st.integers(max(3, source + 1), nodes)
            users = draw(st.lists(later, min_size=1, max_size=3, unique=True))
            nets.append(Net(source, tuple(u for u in users if u != nodes), draw(st.integers(1, 50))))
    return nodes, {0: 0, 1: 1, 2: 2}, [net for net in nets if net.users]


@pytest.mark.parametrize("price", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_it_is_the_least_of_all_assignments(price: np.ndarray) -> None:
    @settings(max_examples=60, deadline=None)
    @given(graphs())
    def check(graph: tuple[int, dict[int, int], list[Net]]) -> None:
        nodes, fixed, nets = graph
        found = least_cut(nodes, fixed, nets, price)
        assert cost(found, nets, price) == pytest.approx(least(nodes, fixed, nets, price), rel=1e-4)
        assert found == least_cut(nodes, fixed, nets, price)

    check()


@pytest.mark.parametrize("price", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_a_region_that_makes_nothing_may_compute_too(price: np.ndarray) -> None:
    wide = np.pad(price, (0, 1), constant_values=1.5)
    wide[3, 3] = 0

    @settings(max_examples=60, deadline=None)
    @given(graphs())
    def check(graph: tuple[int, dict[int, int], list[Net]]) -> None:
        nodes, fixed, nets = graph
        fixed = {**fixed, nodes: 3}
        nets = [*nets, Net(nodes - 1, (nodes,), 20)]
        found = least_cut(nodes + 1, fixed, nets, wide, [3])
        ranges = [[fixed[node]] if node in fixed else [*range(4)] for node in range(nodes + 1)]
        assert cost(found, nets, wide) == pytest.approx(
            min(cost(list(where), nets, wide) for where in product(*ranges)), rel=1e-4
        )

    check()


def test_ties_go_to_the_region_named_first() -> None:
    nets = [Net(0, (2,), 5), Net(1, (2,), 5), Net(2, (3,), 5)]
    assert least_cut(4, {0: 0, 1: 1, 3: 2}, nets, EVEN) == [0, 1, 0, 2]
    assert least_cut(4, {0: 0, 1: 1, 3: 2}, nets, EVEN, [2]) == [0, 1, 2, 2]


def test_where_the_programme_is_too_large_it_is_at_most_twice_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiway_cut, "MAX_VARIABLES", 0)

    @settings(max_examples=60, deadline=None)
    @given(graphs())
    def check(graph: tuple[int, dict[int, int], list[Net]]) -> None:
        nodes, fixed, nets = graph
        single = [Net(net.source, net.users[:1], net.nbytes) for net in nets]  # the bound is one of graphs, not of nets
        found = least_cut(nodes, fixed, single, EVEN)
        assert cost(found, single, EVEN) <= 2 * least(nodes, fixed, single, EVEN)
        assert {node: found[node] for node in fixed} == fixed

    check()


def test_ties_go_to_the_first_region_and_the_client_computes_nothing() -> None:
    client = 3
    price = 1.0 - np.eye(4)
    nets = [Net(0, (3,), 10), Net(1, (3,), 10), Net(2, (3,), 10), Net(3, (4,), 1000)]
    assert least_cut(5, {0: 0, 1: 1, 2: 2, 4: client}, nets, price) == [0, 1, 2, 0, client]


def test_a_long_chain_beside_many_others_is_contracted_and_solved() -> None:
    """Three hundred pairs of chains that meet: far more variables than are given to the solver at once."""
    nets, fixed, nodes = [], {}, 0
    for _ in range(300):
        ends = []
        for region in (0, 1):
            fixed[nodes] = region
            for step in range(20):
                nets.append(Net(nodes, (nodes + 1,), 100 - step if region else 50))
                nodes += 1
            ends.append(nodes)
            nodes += 1
        nets += [Net(end, (nodes,), 70 + 20 * i) for i, end in enumerate(ends)]
        nodes += 1
    found = least_cut(nodes, fixed, nets, 1.0 - np.eye(2))
    assert cost(found, nets, 1.0 - np.eye(2)) == 300 * 50
