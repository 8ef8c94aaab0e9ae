"""The cheapest way to divide a graph among Regions: a multiway cut of nets, as an integer programme.

Belongs here: mathematics. Does not belong here: Dask, Regions by name (assignment).

Groups of tasks are nodes. What a node makes for a set of others is a *net*, which is paid for once in each Region where one
of these is and the maker is not. Programmes are contracted, and solved exactly with HiGHS. What is still too large is
divided by isolating cuts, which are at most twice the least (Dahlhaus et al., SIAM J. Comput. 23, 1994).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: Programmes with more variables are not given to the solver, and none may branch more often than this: both are counts,
#: not seconds, so that equal graphs get equal answers.
MAX_VARIABLES = 20_000
MAX_BRANCHES = 500
#: What a choice that is not the first by name costs, in units of the smallest price: ties go to the first.
_TIE = 1e-3
_CAPACITY = 2**30


@dataclass(frozen=True)
class Net:
    """What node ``source`` makes for nodes ``users``, and its bytes."""

    source: int
    users: tuple[int, ...]
    nbytes: float


def least_cut(
    nodes: int, fixed: Mapping[int, int], nets: Sequence[Net], price: np.ndarray, first: Sequence[int] = ()
) -> list[int]:
    """Assign nodes to Regions so that moving what they make costs least.

    Parameters
    ----------
    nodes
        How many there are.
    fixed
        Region of each node that is not free, by number.
    nets
        What is made, and for which nodes.
    price
        Cost of a byte from Region `i` to Region `j`, of shape (Regions, Regions); 0 on the diagonal. Free nodes may be in
        any Region in which a fixed node is that makes something.
    first
        Regions in which free nodes may be besides; ties go to them.

    Returns
    -------
    Region of each node. Nodes that nothing binds to any Region are where ties go: to the first.
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
    found = _solved(len(numbers), anchors, small, price, allowed, even=even)
    if found is None:
        found = _isolated(len(numbers), anchors, small, allowed)
    return [found[numbers[g]] for g in group]


# ---- contraction ------------------------------------------------------------------------------------------------


def _contracted(
    nodes: int, fixed: Mapping[int, int], nets: Sequence[Net], allowed: Sequence[int], price: np.ndarray
) -> tuple[list[int], dict[int, int]]:
    """Groups of nodes that may be together in a least cut, and the Regions of groups that are fixed.

    A node is needed by one other group alone and makes no less than it takes: it may be where it is needed. Or it takes
    all from one group, which makes that for it alone, and makes no more: it may be where its input is. Where prices differ,
    it must make as much more, or less, as the dearest way that comes instead costs more than the cheapest that goes.
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
        targets: set[int] = set()  # stay as they are in this round: what is known of them holds no more
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
    """By how much prices differ; both numbers are 1 for even ones.

    Returns
    -------
    dearer
        How many times the cheapest way to a Region the dearest one costs, at most.
    longer
        What a way costs more if it begins elsewhere, at most, in units of the way to where it begins.
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
    """The least cut, exactly; None if that is too much work."""
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
        """Whether a node is in a Region: a variable, or a constant."""
        if node in fixed:
            return [], float(fixed[node] == r)
        return ([(at[node, r], 1.0)], 0.0) if (node, r) in at else ([], 0.0)

    def sent(column: list[tuple[int, float]], source: int, user: int, r: int) -> None:
        (mine, am), (its, is_) = where(source, r), where(user, r)
        if its or is_:
            rows.add([*column, *mine, *((c, -v) for c, v in its)], is_ - am)

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
    """Cut the nodes of each Region off from all others by a minimum cut, all but the dearest; for any prices."""
    from scipy.sparse import coo_array  # kept light: workers import this module too
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    largest = max((net.nbytes for net in nets), default=1.0)
    scale = _CAPACITY / 2 / max(largest, 1.0)
    sides, costs = {}, {}
    for region in allowed:
        # Two nodes for a net: what flows through it pays once.
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
    found = [dearest] * nodes
    for region in sorted((r for r in allowed if r != dearest), key=lambda r: (-costs[r], r)):
        for node in range(nodes):
            if node in sides[region]:
                found[node] = region
    for node, region in fixed.items():
        found[node] = region
    return found
