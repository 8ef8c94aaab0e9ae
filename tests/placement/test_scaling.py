"""The scaling rule, driven by a small simulation of pools whose workers take minutes to start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdask_pipelines.placement.scaling import FILL, Backlog, Scaling, State
from xdask_pipelines.placement.scheduler.backlog import EMPTY

MINUTE, HOUR = 60.0, 3600.0
TICK = 5.0
MEMORY = 16 * 2**30
RULE = Scaling(min_workers=0, max_workers=12, threads=16, memory_bytes=MEMORY)


@dataclass
class SimulatedPool:
    """Tasks of one length; workers start after two to four minutes and leave at once."""

    rule: Scaling
    task_seconds: float
    estimate: float = 0.0
    state: State = field(init=False)
    now: float = 0.0
    waiting: int = 0
    running: list[float] = field(default_factory=list)
    workers: list[float] = field(default_factory=list)
    history: list[int] = field(default_factory=list)
    started: int = 0
    done: int = 0
    last_done: float = 0.0

    def __post_init__(self) -> None:
        self.state = self.rule.first()

    def tick(self, arrivals: int = 0) -> None:
        self.now += TICK
        self.waiting += arrivals
        ended = [end for end in self.running if end <= self.now]
        self.done += len(ended)
        self.last_done = self.now if ended else self.last_done
        self.running = [end for end in self.running if end > self.now]
        slots = sum(ready <= self.now for ready in self.workers) * self.rule.threads - len(self.running)
        begun = max(0, min(slots, self.waiting))
        self.waiting -= begun
        self.running += [self.now + self.task_seconds] * begun
        tasks = self.waiting + len(self.running)
        cpu = len(self.running) / max(1, len(self.workers) * self.rule.threads)
        backlog = Backlog(tasks, len(self.running), tasks * (self.estimate or self.task_seconds), 0, cpu)
        self.state = self.rule.step(self.state, backlog, self.now)
        while len(self.workers) < self.state.workers:
            self.started += 1
            self.workers.append(self.now + (2 + self.started % 3) * MINUTE)
        self.workers = self.workers[: self.state.workers]
        self.history.append(self.state.workers)

    def run(self, seconds: float, arrivals: Callable[[float], int] = lambda now: 0) -> SimulatedPool:
        for _ in range(ceil(seconds / TICK)):
            self.tick(arrivals(self.now))
        return self

    @property
    def changes(self) -> int:
        return sum(a != b for a, b in pairwise(self.history))


def test_a_burst_gets_at_once_what_finishes_it_in_time_and_goes_back_once_it_is_over() -> None:
    pool = SimulatedPool(RULE, task_seconds=10.0)
    pool.tick(arrivals=2_400)  # 24,000 s of work: five workers of sixteen threads in five minutes
    assert pool.history == [5]
    pool.run(2 * HOUR)
    assert pool.done == 2_400
    assert pool.last_done < 4 * MINUTE + 5 * MINUTE + 2 * 10  # the start of the slowest, the target, and the rounding
    assert pool.state.workers == 0
    assert pool.changes <= 3
    assert max(pool.history) == 5


def test_a_steady_trickle_keeps_one_worker_without_a_change() -> None:
    pool = SimulatedPool(RULE, task_seconds=20.0)
    pool.run(6 * HOUR, lambda now: int(now % 30 < TICK))
    assert pool.history[10:] == [1] * len(pool.history[10:])
    assert pool.done >= 6 * HOUR / 30 - 20


@pytest.mark.parametrize("period", [2 * MINUTE, 4 * MINUTE])
def test_a_sawtooth_shorter_than_the_cool_down_keeps_its_workers(period: float) -> None:
    pool = SimulatedPool(RULE, task_seconds=10.0)
    pool.run(8 * HOUR, lambda now: 1_500 if now % period < TICK else 0)
    hours = pool.history[int(HOUR / TICK) :]
    assert set(hours) == {max(hours)}, "it flaps"


def test_a_sawtooth_longer_than_the_cool_down_follows_with_two_changes_a_tooth() -> None:
    pool = SimulatedPool(RULE, task_seconds=10.0)
    pool.run(6 * HOUR, lambda now: 1_500 if now % HOUR < TICK else 0)
    assert 6 * 2 - 1 <= pool.changes <= 6 * 3
    assert pool.history.count(0) > len(pool.history) / 3


def test_an_idle_pool_goes_to_its_minimum_after_the_cool_down_and_not_before() -> None:
    rule = Scaling(min_workers=2, max_workers=12, threads=16, memory_bytes=MEMORY)
    state = State(7)
    for now in range(0, 300, 5):
        state = rule.step(state, Backlog(), float(now))
        assert state.workers == 7
    assert rule.step(state, Backlog(), 300.0).workers == 2


def test_a_look_that_finds_work_begins_the_cool_down_anew() -> None:
    state = RULE.step(State(7), Backlog(), 0.0)
    state = RULE.step(state, Backlog(tasks=112, running=112, seconds=1_000), 299.0)
    state = RULE.step(state, Backlog(), 301.0)
    assert RULE.step(state, Backlog(), 600.0).workers == 7
    assert RULE.step(state, Backlog(), 601.0).workers == 0


def test_a_pool_shrinks_to_the_most_that_it_needed_while_it_cooled_down() -> None:
    state = RULE.step(State(9), Backlog(), 0.0)
    state = RULE.step(state, Backlog(tasks=64, running=64, seconds=640), 150.0)
    assert RULE.step(state, Backlog(), 300.0).workers == 4


def test_more_than_the_maximum_is_never_asked_for_and_the_backlog_still_ends() -> None:
    pool = SimulatedPool(RULE, task_seconds=30.0)
    pool.tick(arrivals=20_000)
    pool.run(4 * HOUR)
    assert max(pool.history) == 12
    assert pool.done == 20_000


def test_two_pools_know_nothing_of_one_another() -> None:
    busy, alone = SimulatedPool(RULE, task_seconds=10.0), SimulatedPool(RULE, task_seconds=10.0)
    idle = SimulatedPool(RULE, task_seconds=10.0)
    for i in range(2_000):
        for pool in (busy, alone):
            pool.tick(arrivals=3_000 if i == 0 else 0)
        idle.tick()
    assert busy.history == alone.history
    assert set(idle.history) == {0}


def test_few_long_tasks_get_no_more_threads_than_they_can_use() -> None:
    assert RULE.needed(Backlog(tasks=20, seconds=20 * HOUR)) == 2
    assert RULE.needed(Backlog(tasks=1, seconds=0.001)) == 1


def test_a_pool_never_shrinks_below_what_its_results_need() -> None:
    held = Backlog(held_bytes=int(3.2 * FILL * MEMORY))
    state = RULE.step(State(8), held, 0.0)
    assert RULE.step(state, held, 10_000.0).workers == 4
    assert RULE.needed(Backlog(held_bytes=1)) == 1


def test_a_backlog_is_read_from_what_the_scheduler_counted() -> None:
    counted = {**EMPTY, "no_worker": 3, "queued": 2, "processing": 10, "running": 4, "seconds": 7.5, "held_bytes": 9}
    assert Backlog.of(counted) == Backlog(tasks=15, running=4, seconds=7.5, held_bytes=9)
    busy = Backlog.of({**counted, "threads": 8, "cpu_percent": 600.0})
    assert busy.cpu == 0.75
    assert busy.waiting == 11


def test_tasks_that_take_longer_than_estimated_get_one_worker_more_each_time_the_target_is_missed() -> None:
    pool = SimulatedPool(RULE, task_seconds=20 * MINUTE, estimate=0.5)
    pool.tick(arrivals=40)
    assert pool.state.workers == 1
    pool.run(9 * MINUTE + TICK)
    assert pool.state.workers == 2
    pool.run(9 * MINUTE + TICK)
    assert pool.state.workers == 3, "40 tasks keep three workers busy"
    pool.run(2 * MINUTE)
    assert pool.state.workers == 3, "a fourth would have nothing to do"


@pytest.mark.parametrize(
    ("backlog", "workers"),
    [
        (Backlog(tasks=28, running=16, seconds=10, cpu=0.2), 2),  # more than ten tasks wait
        (Backlog(tasks=26, running=16, seconds=10, cpu=0.2), 1),
        (Backlog(tasks=18, running=16, seconds=10, cpu=0.71), 2),  # processors are busy
        (Backlog(tasks=16, running=16, seconds=10, cpu=0.99), 1),  # and no task could use another worker
    ],
)
def test_pressure_that_lasts_longer_than_start_and_target_adds_a_worker(backlog: Backlog, workers: int) -> None:
    state = RULE.step(State(1), backlog, 0.0)
    assert RULE.step(state, backlog, 539.0).workers == 1
    assert RULE.step(state, backlog, 540.0).workers == workers


@pytest.mark.parametrize(
    ("backlog", "workers"),
    [
        (Backlog(tasks=50, running=49, seconds=10, cpu=0.29), 4),  # calm: of four that were needed
        (Backlog(tasks=50, running=48, seconds=10, cpu=0.29), 6),  # two tasks wait
        (Backlog(tasks=50, running=49, seconds=10, cpu=0.31), 6),  # processors are busy
        (Backlog(tasks=30, running=30, seconds=10, cpu=0.31), 2),  # of two, and four have nothing to do
    ],
)
def test_a_pool_shrinks_when_it_has_been_calm_for_the_cool_down(backlog: Backlog, workers: int) -> None:
    state = RULE.step(State(6), backlog, 0.0)
    assert RULE.step(state, backlog, 299.0).workers == 6
    assert RULE.step(state, backlog, 300.0).workers == workers


backlogs = st.builds(
    lambda waiting, running, each, held: Backlog(waiting + running, running, (waiting + running) * each, held),
    waiting=st.integers(0, 50_000),
    running=st.integers(0, 400),
    each=st.floats(0.001, 3_600),
    held=st.integers(0, 10 * MEMORY),
)
rules = st.builds(
    lambda low, more, threads, cool: Scaling(low, low + more, threads, MEMORY, cool_down_seconds=cool),
    low=st.integers(0, 5),
    more=st.integers(1, 20),
    threads=st.integers(1, 64),
    cool=st.floats(1, 3_600),
)


def steps(rule: Scaling, looks: Iterable[tuple[Backlog, float]]) -> list[tuple[float, int]]:
    state, now, seen = rule.first(), 0.0, []
    for backlog, passed in looks:
        now += passed
        state = rule.step(state, backlog, now)
        seen.append((now, state.workers))
    return seen


looks = st.lists(st.tuples(backlogs, st.floats(0.1, 400)), max_size=60)


@given(rule=rules, looks=looks)
def test_bounds_hold_whatever_comes(rule: Scaling, looks: list[tuple[Backlog, float]]) -> None:
    for (_, workers), (backlog, _) in zip(steps(rule, looks), looks, strict=True):
        assert rule.min_workers <= workers <= rule.max_workers
        assert workers >= rule.needed(backlog), "less than what is needed now"


@given(rule=rules, backlog=backlogs, more=st.integers(0, 10_000), longer=st.floats(0, 1e6), held=st.integers(0, MEMORY))
def test_more_work_never_asks_for_less(rule: Scaling, backlog: Backlog, more: int, longer: float, held: int) -> None:
    larger = Backlog(backlog.tasks + more, backlog.running, backlog.seconds + longer, backlog.held_bytes + held)
    assert rule.needed(larger) >= rule.needed(backlog)


@given(rule=rules, looks=looks)
def test_no_pool_shrinks_twice_within_a_cool_down_nor_right_after_it_grew(
    rule: Scaling, looks: list[tuple[Backlog, float]]
) -> None:
    changed = None
    history = [(0.0, rule.min_workers), *steps(rule, looks)]
    for (_, before), (now, after) in pairwise(history):
        if after < before:
            assert changed is None or now - changed >= rule.cool_down_seconds - 1e-6
        if after != before:
            changed = now
