"""Results that workers get and give are watched, found and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import distributed.scheduler
import distributed.worker
import numpy as np
import pytest
from bokeh.document import Document
from distributed import Client, Scheduler, Worker
from distributed.shuffle._core import ShuffleRun
from tornado.httpclient import AsyncHTTPClient
from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler

from tests.contract.patience import until
from xdask_pipelines.placement.dask_internals import (
    connections,
    dashboards,
    http_server,
    liveness,
    result_copies,
    scheduler_requests,
    transfers,
    wire,
    worker_hooks,
)

OnDask = Callable[[Any], None]


def test_result_of_a_task(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        await client.submit(np.ones, 10, key="x", workers=["a"], retries=3)
        client.submit(np.ones, 10, key="x")
        await until(lambda: "x" in a.data)
        annotations, nbytes, read = transfers.result_of(a, "x")
        assert annotations["retries"] == 3
        assert nbytes == 80
        assert read().sum() == 10

    on_dask(body)


def test_watch_received_tells_keys_bytes_and_peer(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        received: list[Any] = []
        transfers.watch_received(b, lambda keys, peer: received.append((keys, peer)))
        x = client.submit(np.ones, 10, key=("x", 0), workers=["a"])
        await client.submit(np.sum, x, workers=["b"])
        assert received == [([(("x", 0), 80)], a.address)]

    on_dask(body)


def test_look_here_first_spares_a_transfer_and_gets_the_rest(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        transfers.look_here_first(b, lambda keys: {key: np.full(10, 5.0) for key in keys if key == "x"})
        x, y = (client.submit(np.ones, 10, key=key, workers=["a"]) for key in "xy")
        assert await client.submit(lambda x: x.sum(), x, workers=["b"]) == 50
        assert not b.transfer_incoming_log
        z = client.submit(lambda x, y: x.sum() + y.sum(), *(x, y), workers=["b"])
        assert await z == 60
        assert [set(entry["keys"]) for entry in b.transfer_incoming_log] == [{"y"}]

    on_dask(body)


def test_look_here_first_passes_on_what_fails(on_dask: OnDask, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        transfers.look_here_first(b, lambda keys: {"x": 1})
        get: Any = b.gather_dep
        nobody = "tcp://127.0.0.1:1"
        with dask.config.set({"distributed.comm.timeouts.connect": "100ms", "distributed.comm.retry.count": 0}):
            event = await get(worker=nobody, to_gather=["x", "y"], total_nbytes=2, stimulus_id="s")
        assert type(event).__name__ == "GatherDepNetworkFailureEvent"
        event = await get(worker=nobody, to_gather=["x"], total_nbytes=1, stimulus_id="s")
        assert event.data == {"x": 1}

    on_dask(body)


def test_watch_fetches_tells_the_network_from_success(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        seen: list[Any] = []

        def begin(peer: str) -> Any:
            seen.append(peer)
            return seen.append

        transfers.watch_fetches(b, begin)
        x = client.submit(np.ones, 10, key="x", workers=["a"])
        assert await client.submit(lambda x: x.sum(), x, workers=["b"]) == 10
        assert seen == [a.address, True]
        get: Any = b.gather_dep
        nobody = "tcp://127.0.0.1:1"
        with dask.config.set({"distributed.comm.timeouts.connect": "100ms", "distributed.comm.retry.count": 0}):
            await get(worker=nobody, to_gather=["y"], total_nbytes=2, stimulus_id="s")
        assert seen[2:] == [nobody, False]

    on_dask(body)


def test_give_after_by_whereabouts_lets_mates_wait(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        places: list[str] = []
        on_its_way = asyncio.Event()
        gather: Any = b.gather_dep

        async def gather_late(*given: Any, **options: Any) -> Any:
            await on_its_way.wait()
            return await gather(*given, **options)

        b.gather_dep = gather_late  # type: ignore[method-assign]

        async def until_here(keys: Any) -> None:
            places.append(transfers.whereabouts(b, "x"))
            on_its_way.set()
            await until(lambda: transfers.whereabouts(b, "x") == "here")

        transfers.give_after(b, until_here)
        assert transfers.whereabouts(b, "x") == "unknown"
        x = client.submit(np.ones, 10, key="x", workers=["a"])
        y = client.submit(np.sum, x, key="y", workers=["b"])
        await until(lambda: transfers.whereabouts(b, "x") == "coming")
        answer = await b.rpc(b.address).get_data(keys=["x"], who=a.address)
        assert answer["data"]["x"].sum() == 10
        assert places == ["coming"]
        assert await y == 10

    on_dask(body)


def test_hear_scheduler_in_order_and_parts_of_results_unpacked(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        heard: list[Any] = []

        def arrived(key: str, header: Any, frames: Any) -> None:
            heard.append((key, transfers.unpacked(header, frames)))

        worker_hooks.hear_scheduler(b, "arrived", arrived)
        for key, value in {"x": np.arange(4.0), "y": {"one": [1]}}.items():
            data = result_copies.packed(value)
            assert data is not None
            header, frames = result_copies.parts_of(data) or ({}, [])
            message = {"header": header, "frames": frames}
            scheduler_requests.tell_worker(scheduler, b.address, "xdask-arrived", key=key, **message)
        assert result_copies.parts_of(3) is None
        await until(lambda: len(heard) == 2)
        assert [key for key, _ in heard] == ["x", "y"]
        assert heard[0][1].tolist() == [0, 1, 2, 3]
        assert heard[0][1].flags.writeable
        assert heard[1][1] == {"one": [1]}

    on_dask(body)


def test_watch_given_tells_what_goes_to_clients_alone(on_dask: OnDask) -> None:
    async def body(client: Client, scheduler: Scheduler, a: Worker, b: Worker) -> None:
        given: list[Any] = []
        transfers.watch_given(a, given.append)
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
        transfers.watch_shuffled(lambda barrier, peer, nbytes: sent.append((barrier, peer, nbytes)))
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
