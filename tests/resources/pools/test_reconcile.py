"""Pools come to what is desired in any order of events, and no instance that is needed is ever stopped."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines.resources.pools.reconcile import Action, Drain, Instance, Protect, Start, Stop, reconcile

EAST, WEST = "us-east-1", "us-west-2"
START_SECONDS = 300.0


def running(name: str, held: int = 0, region: str = EAST) -> Instance:
    return Instance(region, name, "running", 0.0, held)


def actions(desired: dict[str, int], *instances: Instance, now: float = 100.0) -> list[Action]:
    return reconcile(desired, instances, now, START_SECONDS)


def test_what_is_missing_is_started_and_what_is_starting_counts() -> None:
    assert actions({EAST: 3}, running("a"), Instance(EAST, "b", "starting", 90.0)) == [Start(EAST, 1)]
    assert actions({EAST: 2}, running("a"), Instance(EAST, "b", "starting", 90.0)) == []


def test_what_holds_least_drains_after_what_stays_is_protected() -> None:
    found = actions({EAST: 1}, running("a", 500), running("b", 20), running("c", 10))
    assert found == [Protect(EAST, ("a",)), Drain(EAST, "c"), Drain(EAST, "b")]


def test_an_instance_that_only_starts_is_stopped_before_one_that_works_drains() -> None:
    found = actions({EAST: 1}, running("a"), Instance(EAST, "b", "starting", 90.0))
    assert found == [Stop(EAST, "b", "not needed any more")]


def test_a_drained_instance_is_stopped_and_one_that_drains_is_replaced_if_more_are_wanted() -> None:
    draining, drained = Instance(EAST, "a", "draining", 0.0), Instance(EAST, "b", "drained", 0.0)
    assert actions({EAST: 1}, draining, drained) == [Stop(EAST, "b", "drained"), Start(EAST, 1)]


def test_one_that_never_joins_or_is_lost_is_stopped_and_replaced() -> None:
    found = actions({EAST: 2}, Instance(EAST, "a", "starting", 0.0), Instance(EAST, "b", "lost", 0.0), now=301.0)
    assert found == [
        Stop(EAST, "a", "no worker joined within 300 s"),
        Stop(EAST, "b", "its workers are gone"),
        Start(EAST, 2),
    ]


def test_a_region_that_left_the_topology_ends() -> None:
    assert actions({EAST: 1}, running("a"), running("x", region=WEST)) == [Protect(WEST, ()), Drain(WEST, "x")]


class Machines:
    """Instances that start, drain and die as chance has it; counts what is done to them."""

    def __init__(self) -> None:
        self.now, self.count = 0.0, 0
        self.instances: dict[str, Instance] = {}
        self.protected: set[str] = set()

    def carry_out(self, action: Action) -> None:
        if isinstance(action, Start):
            for _ in range(action.count):
                self.count += 1
                self.instances[f"i{self.count}"] = Instance(action.region, f"i{self.count}", "starting", self.now)
        elif isinstance(action, Protect):
            self.protected = set(action.names)
        elif isinstance(action, Drain):
            assert action.name not in self.protected
            self.change(action.name, "draining")
        else:
            assert self.instances[action.name].state != "running", "an instance that works was stopped"
            assert self.instances[action.name].state != "draining", "an instance that hands over was stopped"
            del self.instances[action.name]

    def change(self, name: str, state: str) -> None:
        self.instances[name] = replace(self.instances[name], state=state, since=self.now)  # type: ignore[arg-type]

    def let_pass(self, seconds: float, dying: int, sick: bool) -> None:
        self.now += seconds
        for i, (name, instance) in enumerate(list(self.instances.items())):
            if instance.state == "starting" and not sick and self.now - instance.since > 120:
                self.change(name, "running")
            elif instance.state == "draining" and self.now - instance.since > 5:
                self.change(name, "drained")
            elif i == dying and instance.state in ("running", "draining"):
                self.change(name, "lost")


event = st.tuples(st.integers(0, 6), st.floats(1, 200), st.integers(0, 12), st.booleans())


@settings(max_examples=150, deadline=None)
@given(st.lists(event, max_size=25), st.integers(0, 6))
def test_whatever_happens_the_pool_comes_to_what_is_desired(events: list, last: int) -> None:
    machines = Machines()
    for wanted, seconds, dying, sick in events:
        for action in reconcile({EAST: wanted}, machines.instances.values(), machines.now, START_SECONDS):
            machines.carry_out(action)
        assert sum(i.state in ("starting", "running") for i in machines.instances.values()) >= wanted
        machines.let_pass(seconds, dying, sick)
    for _ in range(20):
        for action in reconcile({EAST: last}, machines.instances.values(), machines.now, START_SECONDS):
            machines.carry_out(action)
        machines.let_pass(60, dying=99, sick=False)
    assert [i.state for i in machines.instances.values()] == ["running"] * last
    assert not reconcile({EAST: last}, machines.instances.values(), machines.now, START_SECONDS)
