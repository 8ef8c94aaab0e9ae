"""The cheapest division of a graph among Regions: a multiway cut of nets, as an integer programme.

Belongs here: the mathematics. Does not belong here: Dask graphs (cut_network), names of Regions (assignment).

Groups of tasks are nodes. The data that a node passes to a set of users are a *net*. A net costs its bytes once for
each Region that has a user but not the source. Programmes are contracted, then solved exactly with HiGHS. A programme
that is still too large is divided by isolating cuts, which cost at most twice the minimum (Dahlhaus et al., SIAM J.
Comput. 23, 1994).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: Limits of the solver: variables of a programme, and branches. Both are counts and not seconds, so that equal graphs
#: get equal solutions.
MAX_VARIABLES = 20_000
MAX_BRANCHES = 500
#: Cost of a Region that is not the first by name, in units of the smallest price: it breaks ties in favour of the
#: first.
_TIE = 1e-3
_CAPACITY = 2**30


@dataclass(frozen=True)
class Net:
    """Data that node ``source`` passes to nodes ``users``, and their bytes."""

    source: int
    users: tuple[int, ...]
    nbytes: float


def least_cut(
    nodes: int, fixed: Mapping[int, int], nets: Sequence[Net], price: np.ndarray, first: Sequence[int] = ()
) -> list[int]:
    """Assign nodes to Regions so that transfers between Regions cost least.

    Parameters
    ----------
    nodes
        Number of nodes.
    fixed
        Number of the Region of each node that is not free.
    nets
        The data that nodes pass to each other.
    price
        Cost of a byte from Region `i` to Region `j`, of shape (Regions, Regions); 0 on the diagonal. Free nodes may be
        in any Region that has a fixed node with output.
    first
        Further Regions in which free nodes may be; they are preferred in ties.

    Returns
    -------
    Region of each node. Nodes that are not connected to any Region are in the first one.
    """
    makers = {fixed[net.source] for net in nets if net.source in fixed}
    allowed = [*first, *sorted(makers - set(first))] or [0]
    scale = price[price > 0].min() if (price > 0).any() else 1.0
    price = price / scale
    even = bool(np.ptp(price[~np.eye(len(price), dtype=bool)]) < 1e-9) if len(price) > 1 else True
    group, anchored = _contracted(nodes, fixed, nets, allowed, price)
    merged = _merged(nets, group)
    numbers = {g: i for i, g in enumerate(sorted(set(group)))}
    small = [Net(numbers[n.source], tuple(sorted({numbers[u] for u in n.users})), n.nbytes) for n in merged]
    anchors = {numbers[g]: region for g, region in anchored.items() if g in numbers}
    solution = _solved(len(numbers), anchors, small, price, allowed, even=even)
    if solution is None:
        solution = _isolated(len(numbers), anchors, small, allowed)
    return [solution[numbers[g]] for g in group]


# ---- contraction ------------------------------------------------------------------------------------------------


def _contracted(
    nodes: int, fixed: Mapping[int, int], nets: Sequence[Net], allowed: Sequence[int], price: np.ndarray
) -> tuple[list[int], dict[int, int]]:
    """Return groups of nodes that are together in some least cut, and the Regions of fixed groups.

    A node may join its only user if its output is not smaller than its input. It may join its only source, if it is the
    only user of that input and its output is not larger. If prices differ, the output must be larger, or smaller, by
    the ratio of the dearest price to the cheapest.
    """
    group = list(range(nodes))
    dearer, longer = _unevenness(price)

    def root(node: int) -> int:
        while group[node] != node:
            group[node] = group[group[node]]
            node = group[node]
        return node

    anchored = dict(fixed)
    changed = True
    while changed:
        changed = False
        made: defaultdict[int, list[tuple[frozenset[int], float]]] = defaultdict(list)
        taken: defaultdict[int, list[tuple[int, float, bool]]] = defaultdict(list)
        for net in nets:
            source = root(net.source)
            users = frozenset(root(u) for u in net.users) - {source}
            if users:
                made[source].append((users, net.nbytes))
                for user in users:
                    taken[user].append((source, net.nbytes, len(users) == 1))
        merged: set[int] = set()
        targets: set[int] = set()  # not merged again in this round: their sums are out of date
        for node in range(nodes):
            if root(node) != node or node in anchored or node in targets:
                continue
            users = frozenset[int]().union(*(u for u, _ in made[node]))
            out = sum(len(u) * n for u, n in made[node])
            into = sum(n for _, n, _ in taken[node])
            sources = {s for s, _, _ in taken[node]}
            alone = sum(n for _, n, only in taken[node] if only)
            target = None
            if len(users) == 1 and dearer * into <= sum(n for _, n in made[node]):
                (target,) = users
            elif len(sources) == 1 and longer * out <= alone:
                (target,) = sources
            if target is not None and target not in merged and anchored.get(target, allowed[0]) in allowed:
                group[node] = target
                merged.add(node)
                targets.add(target)
                changed = True
    return [root(node) for node in range(nodes)], anchored


def _unevenness(price: np.ndarray) -> tuple[float, float]:
    """Return by how much prices differ; both numbers are 1 if all prices are equal.

    Returns
    -------
    dearer
        Largest ratio of the dearest price to the cheapest price into the same Region.
    longer
        Largest increase of a price if the transfer starts in another Region, relative to the price of getting there.
    """
    regions = range(len(price))
    dearer = longer = 1.0
    for b in regions:
        ways = [price[a, b] for a in regions if a != b]
        dearer = max(dearer, max(ways, default=1.0) / max(min(ways, default=1.0), 1e-12))
        for a in regions:
            for c in regions:
                if a != c:
                    longer = max(longer, (price[a, b] - price[c, b]) / max(price[a, c], 1e-12))
    return dearer, longer


def _merged(nets: Sequence[Net], group: Sequence[int]) -> list[Net]:
    total: defaultdict[tuple[int, frozenset[int]], float] = defaultdict(float)
    for net in nets:
        users = frozenset(group[u] for u in net.users) - {group[net.source]}
        if users and net.nbytes:
            total[group[net.source], users] += net.nbytes
    return [Net(source, tuple(sorted(users)), n) for (source, users), n in total.items()]


# ---- the integer programme --------------------------------------------------------------------------------------


class _Rows:
    """Sparse rows ``a . x >= low``."""

    def __init__(self) -> None:
        self.row: list[int] = []
        self.column: list[int] = []
        self.value: list[float] = []
        self.low: list[float] = []

    def add(self, terms: Sequence[tuple[int, float]], low: float) -> None:
        for column, value in terms:
            self.row.append(len(self.low))
            self.column.append(column)
            self.value.append(value)
        self.low.append(low)


def _solved(
    nodes: int, fixed: Mapping[int, int], nets: Sequence[Net], price: np.ndarray, allowed: Sequence[int], *, even: bool
) -> list[int] | None:
    """Return the exact least cut; None if the programme exceeds the limits."""
    free = [node for node in range(nodes) if node not in fixed]
    if not free:
        return [fixed[node] for node in range(nodes)]
    width = len(price)
    at = {(node, r): i * len(allowed) + j for i, node in enumerate(free) for j, r in enumerate(allowed)}
    if len(at) + len(nets) * (width if even else width * len(allowed)) > MAX_VARIABLES:
        return None
    cost = [_TIE * allowed.index(r) for _, r in at]
    rows = _Rows()
    for node in free:
        here = [(at[node, r], 1.0) for r in allowed]
        rows.add(here, 1.0)
        rows.add([(column, -1.0) for column, _ in here], -1.0)

    def where(node: int, r: int) -> tuple[list[tuple[int, float]], float]:
        """Return the terms and the constant that are 1 if a node is in a Region, else 0."""
        if node in fixed:
            return [], float(fixed[node] == r)
        return ([(at[node, r], 1.0)], 0.0) if (node, r) in at else ([], 0.0)

    def sent(column: list[tuple[int, float]], source: int, user: int, r: int) -> None:
        (source_terms, source_here), (user_terms, user_here) = where(source, r), where(user, r)
        if user_terms or user_here:
            rows.add([*column, *source_terms, *((c, -v) for c, v in user_terms)], user_here - source_here)

    for net in nets:
        for r in range(width):
            if even:
                cost.append(net.nbytes)
                for user in net.users:
                    sent([(len(cost) - 1, 1.0)], net.source, user, r)
                continue
            columns = []
            for s in [fixed[net.source]] if net.source in fixed else allowed:
                if s != r:
                    cost.append(net.nbytes * float(price[s, r]))
                    columns.append((len(cost) - 1, 1.0))
                    held, is_held = where(net.source, s)
                    rows.add([(len(cost) - 1, -1.0), *held], -is_held)
            for user in net.users:
                sent(columns, net.source, user, r)
    from scipy.optimize import Bounds, LinearConstraint, milp  # kept light: workers import this module too
    from scipy.sparse import coo_array

    solution = milp(
        np.array(cost),
        integrality=(np.arange(len(cost)) < len(at)).astype(np.int8),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(
            coo_array((rows.value, (rows.row, rows.column)), (len(rows.low), len(cost))).tocsr(),
            np.array(rows.low),
            np.inf,
        ),
        options={"node_limit": MAX_BRANCHES, "mip_rel_gap": 1e-6},
    )
    if not solution.success:
        return None
    chosen = {node: max(allowed, key=lambda r, node=node: solution.x[at[node, r]]) for node in free}  # type: ignore[misc]
    return [fixed[node] if node in fixed else chosen[node] for node in range(nodes)]


# ---- isolating cuts ---------------------------------------------------------------------------------------------


def _isolated(nodes: int, fixed: Mapping[int, int], nets: Sequence[Net], allowed: Sequence[int]) -> list[int]:
    """Cut each Region off from all others by a minimum cut, except the dearest Region; prices are ignored."""
    from scipy.sparse import coo_array  # kept light: workers import this module too
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    largest = max((net.nbytes for net in nets), default=1.0)
    scale = _CAPACITY / 2 / max(largest, 1.0)
    sides, costs = {}, {}
    for region in allowed:
        # A net has two nodes, so that its bytes count once.
        source, sink = nodes + 2 * len(nets), nodes + 2 * len(nets) + 1
        edges: list[tuple[int, int, int]] = []
        for i, net in enumerate(nets):
            a, b = nodes + 2 * i, nodes + 2 * i + 1
            edges.append((a, b, max(1, int(net.nbytes * scale))))
            for node in (net.source, *net.users):
                edges += [(node, a, _CAPACITY), (b, node, _CAPACITY)]
        for node, home in fixed.items():
            edges.append((source, node, _CAPACITY) if home == region else (node, sink, _CAPACITY))
        row, column, value = map(np.array, zip(*edges, strict=True))
        capacity = coo_array((value.astype(np.int32), (row, column)), (sink + 1, sink + 1)).tocsr()
        flow = maximum_flow(capacity, source, sink)
        residual = capacity - flow.flow
        residual.data = np.maximum(residual.data, 0)
        residual.eliminate_zeros()
        reached = set(breadth_first_order(residual, source, return_predecessors=False).tolist())
        sides[region], costs[region] = reached, flow.flow_value
    dearest = max(allowed, key=lambda region: (costs[region], -region))
    assigned = [dearest] * nodes
    for region in sorted((r for r in allowed if r != dearest), key=lambda r: (-costs[r], r)):
        for node in range(nodes):
            if node in sides[region]:
                assigned[node] = region
    for node, region in fixed.items():
        assigned[node] = region
    return assigned
