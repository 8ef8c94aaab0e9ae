"""What the wall asks of a scheduler happens there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from threading import Event
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Scheduler, Worker, get_client
from distributed.active_memory_manager import ReduceReplicas, RetireWorker
from distributed.diagnostics.plugin import NannyPlugin, SchedulerPlugin

from tests.contract.patience import until
from xdask_pipelines.placement.dask_internals import result_copies, scheduling, task_states, wire
from xdask_pipelines.placement.dask_internals import scheduler_requests as requests
from xdask_pipelines.placement.dask_internals.task_specs import Task

OnDask = Callable[[Any], None]


def increase(x: int) -> int:
    return x + 1


#: Functions that are pickled by name find it again: workers are in this process.
RAN: list[int] = []


def _note(x: int) -> None:
    RAN.append(x)


#: Tasks wait for these; a `distributed.Event` would ask whichever client the process has.
GATES: defaultdict[str, Event] = defaultdict(Event)


def _wait_for(name: str) -> None:
    GATES[name].wait(20)


# ---- requests ---------------------------------------------------------------------------------------------------------


def test_answer_and_ask(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        requests.answer(scheduler, "sum", lambda x, y: x + y)
        assert await requests.ask(client, "sum", x=1, y=2) == 3
        assert await requests.ask(client, "nothing-of-the-kind") is None

    on_dask(body)


def test_hear_names_the_worker_that_tells(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        heard: list[dict[str, Any]] = []
        requests.hear(scheduler, "topic", lambda **values: heard.append(values))
        a.batched_send({"op": "xdask-topic", "key": ("x", 0), "nbytes": 5})
        await until(lambda: bool(heard))
        assert heard == [{"key": ("x", 0), "nbytes": 5, "worker": a.address}]

    on_dask(body)


def test_tell_worker_reaches_the_worker(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        heard: list[int] = []
        a.stream_handlers["own"] = lambda x: heard.append(x)
        requests.tell_worker(scheduler, a.address, "own", x=4)
        await until(lambda: heard == [4])

    on_dask(body)


def test_ask_worker_is_answered(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        a.handlers["own"] = lambda: "a"
        assert await requests.ask_worker(scheduler, a.address, "own") == "a"

    on_dask(body)


def test_handler_and_handle_answer_requests_of_dask(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        gather = requests.handler(scheduler, "gather")
        asked = []

        async def noted(keys: Any, serializers: Any = None) -> Any:
            asked.extend(keys)
            return await gather(keys=keys, serializers=serializers)

        requests.handle(scheduler, "gather", noted)
        future = client.submit(increase, 1, key="two")
        assert await client.gather(future) == 2
        assert asked == ["two"]
        with pytest.raises(KeyError, match="no request 'no-such'"):
            requests.handle(scheduler, "no-such", noted)

    on_dask(body)


def test_handle_cancel_sees_what_clients_cancel(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        seen: list[tuple[list[Any], str, bool]] = []

        def make(cancel: Callable[..., None]) -> Callable[..., None]:
            def noted(keys: Any, client: str, force: bool, reason: str, msg: str) -> None:
                seen.append((list(keys), client, force))
                cancel(keys, client, force=False, reason=reason, msg=msg)

            return noted

        requests.handle_cancel(scheduler, make)
        future = client.submit(increase, 1, key="two")
        await future
        await client.cancel([future], force=True)
        await until(lambda: "two" not in scheduler.tasks)
        assert seen[0] == (["two"], client.id, True)

    on_dask(body)


def test_handle_nanny_plugins_sees_those_of_clients_and_of_dask(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        seen = []

        async def register(comm: Any, plugin: Any, name: str, idempotent: bool) -> dict[str, Any]:
            seen.append(name)
            return {}

        requests.handle_nanny_plugins(scheduler, register)
        await client.register_plugin(NannyPlugin(), name="of-a-client")
        await scheduler.register_nanny_plugin(None, plugin=b"", name="of-dask", idempotent=True)
        assert seen == ["of-a-client", "of-dask"]

    on_dask(body)


# ---- tasks ------------------------------------------------------------------------------------------------------------


def test_require_restrict_and_free_hosts_say_where_a_task_runs(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        class Place(SchedulerPlugin):
            def update_graph(self, scheduler: Scheduler, *, tasks: list[Any], **kwargs: Any) -> None:
                for key in tasks:
                    ts = scheduler.tasks[key]
                    if key == "by-resource":
                        task_states.require(ts, {"B": 0})
                    elif key == "by-address":
                        task_states.restrict(ts, {b.address})
                    elif key == "freed":
                        task_states.restrict(ts, None)
                        task_states.free_hosts(ts)
                        task_states.require(ts, None)

        scheduler.add_plugin(Place(), name="place")
        for key in ("by-resource", "by-address"):
            assert await client.submit(increase, 1, key=key) == 2
            assert (
                {ws.address for ws in scheduler.tasks[key].who_has} == {b.address} if key in scheduler.tasks else True
            )
        assert await client.submit(increase, 1, key="freed", workers=["nobody-at-all"]) == 2

    on_dask(body)


def test_refuse_other_workers_takes_the_leave_of_a_user(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        class Strict(SchedulerPlugin):
            def update_graph(self, scheduler: Scheduler, *, tasks: list[Any], **kwargs: Any) -> None:
                for key in tasks:
                    task_states.refuse_other_workers(scheduler.tasks[key])

        scheduler.add_plugin(Strict(), name="strict")
        future = client.submit(increase, 1, key="x", workers=["127.0.0.2:1"], allow_other_workers=True)
        await until(lambda: "x" in scheduler.tasks and scheduler.tasks["x"].state == "no-worker")
        future.release()

    on_dask(body)


def test_annotate_travels_to_the_worker(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        class Note(SchedulerPlugin):
            def update_graph(self, scheduler: Scheduler, *, tasks: list[Any], **kwargs: Any) -> None:
                for key in tasks:
                    task_states.annotate(scheduler.tasks[key], {"own": 5})

        scheduler.add_plugin(Note(), name="note")
        future = client.submit(increase, 1, key="x", workers=["a"])
        await future
        assert a.state.tasks["x"].annotations == {"own": 5}

    on_dask(body)


def test_prioritise_orders_and_respecify_changes_what_is_done(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        RAN.clear()

        class Turn(SchedulerPlugin):
            def update_graph(self, scheduler: Scheduler, *, tasks: list[Any], **kwargs: Any) -> None:
                for key in tasks:
                    ts = scheduler.tasks[key]
                    if str(key).startswith("turn"):
                        task_states.prioritise(ts, (0, -int(str(key)[-1]), 0))
                    task_states.require(ts, {"A": 0})
                    if key == "other":
                        task_states.respecify(ts, Task("other", lambda: "done instead"))

        scheduler.add_plugin(Turn(), name="turn")
        first = client.submit(_wait_for, "turn", key="first")
        await until(lambda: "first" in a.state.tasks and a.state.tasks["first"].state == "executing")
        futures = client.map(_note, range(4), key=[f"turn-{i}" for i in range(4)])
        await until(lambda: sum(str(k).startswith("turn") for k in a.state.tasks) == 4)
        GATES["turn"].set()
        await client.gather([first, *futures])
        assert RAN == [3, 2, 1, 0]
        assert await client.submit(increase, 1, key="other") == "done instead"

    on_dask(body)


def test_without_worker_fail_and_resume(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        failing, waiting = (client.submit(increase, i, key=f"x-{i}", workers=["127.0.0.2:1"]) for i in range(2))
        await until(lambda: len(scheduling.without_worker(scheduler)) == 2)
        assert {ts.key for ts in scheduling.without_worker(scheduler)} == {"x-0", "x-1"}
        scheduling.fail(scheduler, scheduler.tasks["x-0"], ValueError("by name"))
        with pytest.raises(ValueError, match="by name"):
            await failing
        scheduling.resume(scheduler, ["x-1", "gone"])
        await asyncio.sleep(0.05)
        assert not waiting.done()
        task_states.restrict(scheduler.tasks["x-1"], None)
        scheduling.resume(scheduler, ["x-1"])
        assert await waiting == 2

    on_dask(body)


def test_expected_seconds_are_those_of_the_same_kind(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        def slow(i: int) -> int:
            from time import sleep

            sleep(0.2)
            return i

        await client.gather(client.map(slow, range(4)))
        later = client.submit(slow, 9, workers=["127.0.0.2:1"])
        await until(lambda: bool(scheduling.without_worker(scheduler)))
        assert 0.15 < scheduling.expected_seconds(scheduler, scheduler.tasks[later.key]) < 1
        later.release()

    on_dask(body)


def test_be_first_hears_before_others(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        heard = []

        class Hears(SchedulerPlugin):
            def __init__(self, name: str) -> None:
                self.name = name

            def update_graph(self, scheduler: Scheduler, **kwargs: Any) -> None:
                heard.append(self.name)

        scheduler.add_plugin(Hears("early"))
        late = Hears("late")
        scheduler.add_plugin(late)
        scheduling.be_first(scheduler, "late", late)
        await client.submit(increase, 1)
        assert heard == ["late", "early"]

    on_dask(body)


def test_note_submitting_task_names_the_parent(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        noted: list[Any] = []
        scheduling.note_submitting_task(scheduler, noted.append)

        def parent() -> int:
            return get_client().submit(increase, 1, key="child").result()

        assert await client.submit(parent, key="parent") == 2
        assert noted == [None, "parent"]

    on_dask(body)


def test_check_submissions_replaces_keywords_and_refuses(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        def check(
            *, dsk: Any, user_priority: Any, annotations_by_type: Any, global_annotations: Any, **_: Any
        ) -> dict[str, Any]:
            if "bad" in dsk:
                raise ValueError("refused by name")
            assert {**annotations_by_type, **(global_annotations or {})}["retries"] in (3, {"good": 3})
            return {"user_priority": 7}

        scheduling.check_submissions(scheduler, check)
        good = client.submit(increase, 1, key="good", retries=3)
        assert await good == 2
        assert scheduler.tasks["good"].priority[0] == -7
        with pytest.raises(ValueError, match="refused by name"):
            await client.submit(increase, 1, key="bad")
        assert "bad" not in scheduler.tasks

    on_dask(body)


def test_report_to_own_client_alone(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        scheduling.report_to_own_client(scheduler)

        def check(*, client: str, **_: Any) -> dict[str, Any]:
            if client != first:
                raise ValueError("refused by name")
            return {}

        first = client.id
        scheduling.check_submissions(scheduler, check)
        shared = client.submit(_wait_for, "shared", key="shared")
        await until(lambda: "shared" in scheduler.tasks)
        async with Client(scheduler.address, asynchronous=True, set_as_default=False) as other:
            with pytest.raises(ValueError, match="refused by name"):
                await other.submit(_wait_for, "shared", key="shared")
        GATES["shared"].set()
        assert await shared is None

    on_dask(body)


def test_send_tasks_by_us(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        packed: list[Any] = []

        def pack(value: Any, key: Any) -> Any:
            packed.append(key)
            return value if key is None else Task(key, increase, 41)

        scheduling.send_tasks_by(scheduler, pack)
        assert await client.submit(increase, 1, key="x", retries=2) == 42
        assert packed == ["x", None]

    on_dask(body)


def test_name_holders_by_us_and_get_over_holders_that_are_none(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        named: list[Any] = []
        holders = {"x": [a.address], "y": ["tcp://127.0.0.1:1"]}

        def name(ts: Any, who_has: Any) -> dict[Any, Any]:
            named.append((ts.key, ts.processing_on.address, dict(who_has)))
            return {key: holders[key] for key in who_has}

        scheduling.name_holders_by(scheduler, name)
        x, y = (client.submit(int, 4, key=key, workers=["a"]) for key in "xy")
        with dask.config.set({"distributed.comm.timeouts.connect": "100ms", "distributed.comm.retry.count": 0}):
            assert await client.submit(lambda x, y: x + y, x, y, key="z", workers=["b"]) == 8
        assert named[-1] == ("z", b.address, {"x": (a.address,), "y": (a.address,)})

    on_dask(body)


def test_seconds_of_what_dask_reads() -> None:
    assert scheduling.seconds_of("100 ms") == 0.1
    assert scheduling.seconds_of(2) == 2.0
    with pytest.raises((TypeError, ValueError, KeyError)):
        scheduling.seconds_of("soon")


def test_travelled_values_arrive_or_raise() -> None:
    assert wire.travelled({"GPU": 1, "list": (1, 2.5, "x")}) == {"GPU": 1, "list": (1, 2.5, "x")}
    with pytest.raises(OverflowError):
        wire.travelled(2**70)


# ---- workers that leave, copies of results ----------------------------------------------------------------------------


def test_close_gracefully_is_leaving_and_reopen(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        ws = scheduler.workers[a.address]
        scheduling.close_gracefully(scheduler, ws)
        assert ws not in scheduler.running
        assert scheduling.is_leaving(ws)
        futures = client.map(increase, range(4))
        await client.gather(futures)
        assert {w.address for f in futures for w in scheduler.tasks[f.key].who_has} == {b.address}
        await until(lambda: a.status.name == "closing_gracefully")
        scheduling.reopen(scheduler, ws)
        await until(lambda: a.status.name == "running")
        assert ws in scheduler.running
        assert not scheduling.is_leaving(ws)

    on_dask(body)


def test_hand_over_moves_what_has_not_begun_and_assigned_counts_it(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        gates = [client.submit(_wait_for, name, key=name, workers=[name]) for name in ("a", "b")]
        await until(
            lambda: all(w.state.tasks and next(iter(w.state.tasks.values())).state == "executing" for w in (a, b))
        )
        second = client.submit(increase, 1, key="second")
        await until(lambda: any("second" in w.state.tasks for w in (a, b)))
        giver, taker = (a, b) if "second" in a.state.tasks else (b, a)
        from_, to = scheduler.workers[giver.address], scheduler.workers[taker.address]
        assert [scheduling.assigned(scheduler, ws) for ws in (from_, to)] == [2, 1]
        scheduling.hand_over(scheduler, scheduler.tasks["second"], from_, to)
        assert [scheduling.assigned(scheduler, ws) for ws in (from_, to)] == [1, 2], "counted before it has moved"
        await until(lambda: "second" in taker.state.tasks)
        for name in ("a", "b"):
            GATES[name].set()
        await client.gather([*gates, second])
        assert {ws.address for ws in scheduler.tasks["second"].who_has} == {taker.address}

    on_dask(body)


def test_acquire_send_for_and_acquire_by(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        held = await client.scatter({"x": np.ones(10), "y": np.ones(10)}, workers=["a"])
        result_copies.acquire(scheduler, b.address, ["x"], "test-1")
        await until(lambda: "x" in b.data)
        asked = []

        def send(addr: str, keys: Any, *, stimulus_id: str) -> None:
            asked.append((addr, list(keys)))
            result_copies.send_for(scheduler, addr, {"y": [a.address]}, {"y": 80}, stimulus_id)

        result_copies.acquire_by(scheduler, send)
        result_copies.acquire(scheduler, b.address, ["y"], "test-2")
        await until(lambda: "y" in b.data)
        assert asked == [(b.address, ["y"])]
        assert len(held) == 2

    on_dask(body)


def test_retire_by_moves_results_by_our_policy(on_dask: OnDask, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed.scheduler

    monkeypatch.setattr(distributed.scheduler, "RetireWorker", RetireWorker)

    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        used = []

        class Noted(RetireWorker):
            def run(self) -> Any:
                used.append(self.address)
                return super().run()

        result_copies.retire_by(Noted)
        held = await client.scatter({"x": 1}, workers=["a"])
        await client.retire_workers([a.address], close_workers=False, remove=False)
        assert used
        assert held.keys() & b.data.keys() == {"x"}

    on_dask(body)


def test_thin_out_by_replaces_the_policy_of_dask(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        class Noted(ReduceReplicas):
            pass

        result_copies.thin_out_by(scheduler, Noted())
        kinds = [type(policy) for policy in scheduler.extensions["amm"].policies]
        assert ReduceReplicas not in kinds
        assert Noted in kinds

    on_dask(body)


def test_packed_results_arrive_as_they_were(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        for value in (np.arange(3), {"a": [np.ones(2)]}, (1, "x"), [{"b": np.zeros(1)}]):
            packed = result_copies.packed(value)
            assert packed is not None
            requests.answer(scheduler, "give", lambda packed=packed: packed)
            got = await requests.ask(client, "give")
            np.testing.assert_equal(got, value)
        assert result_copies.packed(x for x in ()) is None

    on_dask(body)
