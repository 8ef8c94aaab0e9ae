"""What happens on workers is told while it happens, and what the wall relies on is there when they start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask.array as da
import distributed.scheduler
import distributed.worker
import numpy as np
import pytest
from bokeh.document import Document
from distributed import Client, Scheduler, Worker, get_worker
from distributed.shuffle._core import ShuffleRun
from patience import until
from tornado.httpclient import AsyncHTTPClient
from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals import (
    connections,
    dashboards,
    http_server,
    liveness,
    scheduler_requests,
    startup_checks,
    wire,
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
        await until(lambda: "leaves" in a.state.actors)
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


# ---- transfers --------------------------------------------------------------------------------------------------------


def test_result_of_a_task(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        await client.submit(np.ones, 10, key="x", workers=["a"], retries=3)
        client.submit(np.ones, 10, key="x")
        await until(lambda: "x" in a.data)
        annotations, nbytes, read = worker_hooks.result_of(a, "x")
        assert annotations["retries"] == 3
        assert nbytes == 80
        assert read().sum() == 10

    on_dask(body)


def test_watch_received_tells_keys_bytes_and_peer(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        received: list[Any] = []
        worker_hooks.watch_received(b, lambda keys, peer: received.append((keys, peer)))
        x = client.submit(np.ones, 10, key=("x", 0), workers=["a"])
        await client.submit(np.sum, x, workers=["b"])
        assert received == [([(("x", 0), 80)], a.address)]

    on_dask(body)


def test_watch_given_tells_what_goes_to_clients_alone(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        given: list[Any] = []
        worker_hooks.watch_given(a, given.append)
        x = client.submit(np.ones, 10, key="x", workers=["a"])
        await client.submit(np.sum, x, workers=["b"])
        assert given == []
        y = client.submit(np.zeros, 5, key="y", workers=["a"])
        await client.gather(y, direct=False)
        assert given == [[("y", 40)]]

    on_dask(body)


def test_watch_shuffled_tells_each_piece(on_dask: OnDask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShuffleRun, "send", ShuffleRun.send)

    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        sent: list[Any] = []
        worker_hooks.watch_shuffled(lambda barrier, peer, nbytes: sent.append((barrier, peer, nbytes)))
        import dask

        with dask.config.set({"array.rechunk.method": "p2p"}):
            x = da.ones((40, 40), chunks=(5, 40)).rechunk((40, 5))
        await client.compute(x)
        assert {peer for _, peer, _ in sent} == {a.address, b.address}
        assert all(str(barrier).startswith("shuffle-barrier") for barrier, _, _ in sent)
        assert sum(nbytes for *_, nbytes in sent) == 40 * 40 * 8

    on_dask(body)


# ---- life, connections, pages -----------------------------------------------------------------------------------------


def test_give_seldom(on_dask: OnDask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.scheduler, "heartbeat_interval", distributed.scheduler.heartbeat_interval)
    liveness.give_seldom(5.0)

    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        await until(lambda: a.periodic_callbacks["heartbeat"].callback_time == 5_000)

    on_dask(body)


def test_restart_silent(on_dask: OnDask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.scheduler, "heartbeat_interval", lambda n: 0.02)

    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        await asyncio.sleep(1.2)  # workers say after a second for the first time that they live
        liveness.restart_silent(scheduler, 0.5, 10)
        a.periodic_callbacks["heartbeat"].stop()
        await until(lambda: a.address not in scheduler.workers)
        assert b.address in scheduler.workers

    on_dask(body)


def test_host_and_port_of_addresses() -> None:
    assert connections.host_and_port("tcp://127.0.0.1:8786") == ("127.0.0.1", 8786)
    assert connections.host_and_port("tls://scheduler.example:1") == ("scheduler.example", 1)
    with pytest.raises((AttributeError, TypeError, ValueError)):
        connections.host_and_port("tcp://127.0.0.1")


def test_own_versions_and_scheduler_versions(on_dask: OnDask) -> None:
    own = connections.own_versions(["xarray", "no-such-package"])
    assert own["no-such-package"] is None
    assert own["dask"]

    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        def ask() -> Any:
            with Client(scheduler.address, set_as_default=False) as blocking:
                return connections.scheduler_versions(blocking, ["xarray", "no-such-package"])

        assert await asyncio.to_thread(ask) == own

    on_dask(body)


def test_without_version_warnings() -> None:
    from warnings import catch_warnings, warn

    from distributed.versions import VersionMismatchWarning

    with catch_warnings(record=True) as seen, connections.without_version_warnings():
        warn("differ", VersionMismatchWarning, stacklevel=1)
    assert not seen


def test_dumps_and_loads() -> None:
    assert wire.loads(wire.dumps(increase))(1) == 2


def increase(x: int) -> int:
    return x + 1


class _Everything(Matcher):
    def match(self, request: Any) -> dict[str, Any] | None:
        return {} if request.path == "/refused" else None


class _Refused(RequestHandler):
    def prepare(self) -> None:
        self.set_status(403)
        self.finish("no")


def test_pages_and_rules_of_the_dashboard() -> None:
    """`has_dashboard`, `listens_at`, `check_first`, `add_page`, `dress`, `update_every`."""

    async def main() -> None:
        drawn = []

        class Page:
            def update(self) -> None:
                drawn.append("updated")

        def draw(document: Document, extra: Any) -> None:
            dashboards.dress(document, extra)
            dashboards.update_every(document, Page(), 50)
            drawn.append("drawn")

        async with Scheduler(port=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as scheduler:
            assert http_server.has_dashboard(scheduler)
            assert dashboards.add_page(scheduler, "own", draw)
            http_server.check_first(scheduler, Rule(_Everything(), _Refused))
            host, port = http_server.listens_at(scheduler)
            web = AsyncHTTPClient()
            page = await web.fetch(f"http://{host}:{port}/own")
            assert b"own" in page.body
            assert drawn[0] == "drawn"
            answer = await web.fetch(f"http://{host}:{port}/refused", raise_error=False)
            assert answer.code == 403

    asyncio.run(asyncio.wait_for(main(), 30))


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
    ],
)
def test_what_dask_lacks_is_named_with_its_version(
    on_dask: OnDask, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None], missing: str
) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        with monkeypatch.context() as patched:
            change(scheduler, a, patched)
            with pytest.raises(PlacementError, match=r"Dask \d+\.\d+\.\d+ lacks what placement relies on") as caught:
                _check_both(scheduler, a)
        assert missing in str(caught.value)

    on_dask(body)


def _check_both(scheduler: Scheduler, worker: Worker) -> None:
    startup_checks.check_scheduler(scheduler)
    startup_checks.check_worker(worker)
