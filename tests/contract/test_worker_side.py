"""What happens on workers is told while it happens, and what the wall relies on is there when they start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import distributed.scheduler
import distributed.worker
import pytest
from distributed import Client, Scheduler, Worker, get_worker
from distributed.shuffle._core import ShuffleRun

from tests.contract.patience import until
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals import (
    scheduler_requests,
    startup_checks,
    worker_hooks,
)

OnDask = Callable[[Any], None]


# ---- talking ----------------------------------------------------------------------------------------------------------


def test_tell_and_tell_from_any_thread_and_key_of_thread(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        heard: list[Any] = []
        scheduler_requests.hear(scheduler, "own", lambda key, worker: heard.append((key, worker)))
        worker_hooks.tell(a, "own", key="in the loop")

        def task() -> None:
            worker_hooks.tell_from_any_thread(get_worker(), "own", key=worker_hooks.key_of_thread())

        await client.submit(task, key="in a task", workers=["a"])
        await until(lambda: len(heard) == 2)
        assert heard == [("in the loop", a.address), ("in a task", a.address)]
        assert worker_hooks.key_of_thread() is None

    on_dask(body)


def test_say_on_joining_and_answer_later() -> None:
    async def main() -> None:
        local: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
        async with Scheduler(port=0, **local) as scheduler:
            worker = Worker(scheduler.address, **local)
            worker_hooks.say_on_joining(worker, "own", lambda: {"region": "east"})
            async with worker:
                assert scheduler.workers[worker.address].extra["own"] == {"region": "east"}
                assert await scheduler_requests.ask_worker(scheduler, worker.address, "own") == {"region": "east"}

    asyncio.run(asyncio.wait_for(main(), 30))


def test_change_resources_by_us(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        def make(change: Callable[..., Any]) -> Callable[..., Any]:
            async def doubled(**resources: float) -> None:
                await change(**{name: 2 * value for name, value in resources.items()})

            return doubled

        worker_hooks.change_resources_by(a, make)

        async def ask(dask_worker: Worker) -> None:
            await dask_worker.set_resources(GPU=2)

        await client.run(ask, workers=[a.address])
        assert scheduler.workers[a.address].resources["GPU"] == 4

    on_dask(body)


def test_run_inside_a_context(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        @contextmanager
        def context() -> Iterator[None]:
            INSIDE.append("in")
            yield
            INSIDE.append("out")

        INSIDE.clear()
        worker_hooks.run_inside(a, context)
        await client.run(_note, workers=[a.address])
        assert INSIDE == ["in", "run", "out"]

    on_dask(body)


#: Functions that are pickled by name find it again: workers are in this process.
INSIDE: list[str] = []


def _note() -> None:
    INSIDE.append("run")


# ---- what would end a process -----------------------------------------------------------------------------------------


def _exit() -> None:
    raise SystemExit(3)


class _Leaves:
    def leave(self) -> None:
        raise SystemExit(3)


def _named(error: BaseException) -> Exception:
    return RuntimeError(f"instead of {error!r}")


def test_run_tasks_by_us(on_dask: OnDask, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_run_task_simple", "_run_task_async"):
        monkeypatch.setattr(distributed.worker, name, getattr(distributed.worker, name))

    def contain(task: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(data: Any) -> Any:
            try:
                return task(data)
            except SystemExit as error:
                raise _named(error) from error

        return call

    def contain_in_loop(task: Callable[[Any], Any]) -> Callable[[Any], Any]:
        async def call(data: Any) -> Any:
            try:
                return await task(data)
            except SystemExit as error:
                raise _named(error) from error

        return call

    async def leave() -> None:
        raise SystemExit(4)

    worker_hooks.run_tasks_by(contain, contain_in_loop)

    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        for function in (_exit, leave):
            with pytest.raises(RuntimeError, match="instead of SystemExit"):
                await client.submit(function)

    on_dask(body)


def test_actors_by_us(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        worker_hooks.actors_by(a, _named)
        future = client.submit(_Leaves, key="leaves", actor=True, workers=["a"])
        await until(lambda: a.state.actors.get("leaves") is not None)
        answer = await a.handlers["actor_execute"](actor="leaves", function="leave", args=(), kwargs={})
        assert answer["status"] == "error"
        assert str(answer["exception"].data).startswith("instead of SystemExit")
        future.release()

    on_dask(body)


def test_runs_by_us(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        worker_hooks.runs_by(a, _named)
        worker_hooks.runs_by(scheduler, _named)
        with pytest.raises(RuntimeError, match="instead of SystemExit"):
            await client.run(_exit, workers=[a.address])
        with pytest.raises(RuntimeError, match="instead of SystemExit"):
            await client.run_on_scheduler(_exit)

    on_dask(body)


def test_leave_nanny_running(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        closed: list[dict[str, Any]] = []

        async def close(**options: Any) -> None:
            closed.append(options)

        worker_hooks.leave_nanny_running(a)
        close_truly, a.close = a.close, close  # type: ignore[method-assign, assignment]
        reading, writing = await _connected()
        task = asyncio.create_task(a.handle_scheduler(writing))
        await reading.close()
        await asyncio.wait({task}, timeout=5)
        a.close = close_truly  # type: ignore[method-assign]
        assert closed
        assert closed[0]["nanny"] is False

    on_dask(body)


async def _connected() -> tuple[Any, Any]:
    """Both ends of a connection."""
    from distributed.comm import connect, listen

    ends: asyncio.Queue[Any] = asyncio.Queue()

    async def accept(comm: Any) -> None:
        await ends.put(comm)
        await asyncio.sleep(10)

    listener = await listen("inproc://", accept)
    one = await connect(listener.contact_address)
    return one, await ends.get()


# ---- checks -----------------------------------------------------------------------------------------------------------


def test_check_scheduler_and_check_worker_pass_on_this_version(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        startup_checks.check_scheduler(scheduler)
        startup_checks.check_worker(a)

    on_dask(body)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda s, w, m: m.delattr(Scheduler, "stimulus_cancel"), "Scheduler.stimulus_cancel"),
        (lambda s, w, m: m.delitem(s.handlers, "gather"), "the request 'gather'"),
        (lambda s, w, m: m.setattr(Scheduler, "valid_workers", lambda self, task: None), "the parameter 'ts'"),
        (lambda s, w, m: m.setattr(Scheduler, "retire_workers", lambda self: None), "RetireWorker in Scheduler"),
        (lambda s, w, m: m.delitem(s.extensions, "amm"), "the extension 'amm'"),
        (lambda s, w, m: m.setattr(w, "transfer_incoming_log", None), "Worker.transfer_incoming_log"),
        (lambda s, w, m: m.setattr(Worker, "_update_metrics_received_data", lambda self: 0), "transfer_incoming_log"),
        (lambda s, w, m: m.delattr(ShuffleRun, "send"), "ShuffleRun.send"),
        (lambda s, w, m: m.setattr(Worker, "gather_dep", lambda self, keys: None), "'to_gather' of Worker.gather_dep"),
    ],
)
def test_what_dask_lacks_is_named_with_its_version(
    on_dask: OnDask, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None], missing: str
) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        with monkeypatch.context() as patched:
            change(scheduler, a, patched)
            with pytest.raises(PlacementError, match=r"Dask \d+\.\d+\.\d+ lacks what placement needs") as caught:
                _check_both(scheduler, a)
        assert missing in str(caught.value)

    on_dask(body)


def _check_both(scheduler: Scheduler, worker: Worker) -> None:
    startup_checks.check_scheduler(scheduler)
    startup_checks.check_worker(worker)
