"""A page of another origin, in the same browser as the UI, changes nothing and reads nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote, urlsplit

import psutil
import pytest
from playwright.sync_api import Error, Page

from tests.browser.conftest import FOREIGN
from tests.browser.live_ui import Ui, processes_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_CONTROL, _ATTACKED = "reported_by_own_page", "reported_by_foreign_page"


def report(key: str) -> str:
    """A mutation that leaves a trace."""
    return (
        "mutation {reportRunlessAssetEvents(eventParams: {eventType: ASSET_MATERIALIZATION, "
        f'assetKey: {{path: ["{key}"]}}}}) {{__typename}}}}'
    )


def known(ui: Ui) -> set[str]:
    nodes = ui.ask("{assetsOrError {... on AssetConnection {nodes {key {path}}}}}")["assetsOrError"]["nodes"]
    return {"/".join(node["key"]["path"]) for node in nodes}


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html><body>foreign</body></html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    """Port of another server of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(params=[FOREIGN, "localhost", "127.0.0.1"])
def foreign(request: pytest.FixtureRequest, foreign_port: int, page: Page) -> Page:
    """A page of another site; and of the UI's site, but another origin."""
    page.goto(f"http://{request.param}:{foreign_port}/")
    return page


def test_own_page_reports_the_same_mutation(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/server_info")
    said = page.evaluate(
        """async query => (await fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'},
            body: JSON.stringify({query})})).json()""",
        report(_CONTROL),
    )
    assert "errors" not in said
    assert _CONTROL in known(ui)


def test_no_request_of_a_foreign_page_changes_anything(ui: Ui, foreign: Page) -> None:
    query = report(_ATTACKED)
    ask = f"{ui.url}/graphql?query={quote(query)}"
    body = json.dumps({"query": query})
    rest = f"{ui.url}/report_asset_materialization/{_ATTACKED}?description=x"
    foreign.evaluate(
        """async ([ask, post, body, rest]) => {
            const sent = (url, options) => fetch(url, options).then(a => a.text(), e => null);
            await new Promise(done => { const i = new Image(); i.onload = i.onerror = done; i.src = ask; });
            await sent(ask, {mode: 'no-cors'});
            await sent(ask, {mode: 'no-cors', method: 'POST'});
            for (const type of ['text/plain', 'text/plain; x=application/json', 'application/x-www-form-urlencoded'])
                await sent(post, {mode: 'no-cors', method: 'POST', headers: {'Content-Type': type}, body});
            await sent(post, {method: 'POST', headers: {'Content-Type': 'application/json'}, body});
            await sent(rest, {mode: 'no-cors', method: 'POST'});
            navigator.sendBeacon(rest);
            navigator.sendBeacon(post, new Blob([body], {type: 'text/plain'}));
            for (const [action, method] of [[ask, 'get'], [ask, 'post'], [post, 'get'], [rest, 'post']])
                await new Promise(done => {
                    const frame = document.createElement('iframe'), form = document.createElement('form');
                    frame.name = 'f' + Math.random(); form.target = frame.name;
                    form.action = action; form.method = method; form.enctype = 'text/plain';
                    const field = document.createElement('input');
                    field.name = method == 'get' ? 'query' : body.slice(0, -1) + ', "x": "';
                    field.value = method == 'get' ? new URL(ask).searchParams.get('query') : '"}';
                    form.append(field); document.body.append(frame, form);
                    form.submit(); setTimeout(done, 1500);
                });
        }""",
        [ask, f"{ui.url}/graphql", body, rest],
    )
    with foreign.expect_popup() as popup:
        foreign.evaluate("ask => { window.open(ask) }", ask)
    popup.value.wait_for_load_state()
    assert "error" in popup.value.inner_text("body")
    assert _ATTACKED not in known(ui)


def test_no_foreign_page_opens_a_websocket_or_reads(ui: Ui, foreign: Page) -> None:
    socket = ui.url.replace("http", "ws") + "/graphql"
    opened = foreign.evaluate(
        """url => new Promise(done => { const s = new WebSocket(url, 'graphql-ws');
            s.onopen = () => done(true); s.onerror = () => done(false); })""",
        socket,
    )
    assert opened is False
    assert foreign.evaluate("url => fetch(url).then(a => a.text(), e => null)", f"{ui.url}/server_info") is None


def test_a_foreign_name_for_loopback_is_refused(ui: Ui, page: Page) -> None:
    """DNS rebinding: the page's own name now resolves to this machine, and its requests are of the same origin."""
    port = urlsplit(ui.url).port
    answer = page.goto(f"http://{FOREIGN}:{port}/")
    assert answer is not None
    assert answer.status == 403
    said = page.evaluate(
        """query => fetch('/graphql', {method: 'POST', headers: {'Content-Type': 'application/json'},
            body: JSON.stringify({query})}).then(a => a.status)""",
        report(_ATTACKED),
    )
    assert said == 403
    assert _ATTACKED not in known(ui)


def test_a_link_on_a_foreign_page_opens_the_ui_but_no_frame_does(ui: Ui, foreign: Page) -> None:
    foreign.evaluate(
        """url => {
            const link = document.createElement('a'), frame = document.createElement('iframe');
            link.href = url; link.id = 'link'; frame.src = url; frame.name = 'framed';
            document.body.append(link, frame);
        }""",
        f"{ui.url}/asset-groups",
    )
    foreign.wait_for_timeout(1500)
    framed = foreign.frame("framed")
    assert framed is not None
    with suppress(Error):  # Chromium's own page about the refusal cannot be read
        assert "Dagster" not in framed.content()
    foreign.evaluate("() => document.getElementById('link').click()")
    foreign.get_by_text("temperature", exact=True).first.wait_for()


def test_the_dashboard_answers_no_foreign_page(ui: Ui, foreign: Page) -> None:
    found = re.search(r"live: (http://127\.0\.0\.1:\d+)/", ui.log.read_text())
    assert found is not None
    top = found[1]
    assert foreign.evaluate("url => fetch(url).then(a => a.text(), e => null)", f"{top}/json/counts.json") is None
    opened = foreign.evaluate(
        """url => new Promise(done => { const s = new WebSocket(url, ['bokeh', 'token']);
            s.onopen = () => done(true); s.onerror = () => done(false); })""",
        f"{top.replace('http', 'ws')}/status/ws",
    )
    assert opened is False
    for page in ("status", "metrics", "json/counts.json"):
        answer = foreign.goto(f"http://{FOREIGN}:{urlsplit(top).port}/{page}")
        assert answer is not None
        assert answer.status == 403


def test_only_the_guarded_server_listens(ui: Ui) -> None:
    """Of Dagster's processes one listens, on the one port; the pools listen on loopback."""
    listening: dict[str, set[tuple[str, int]]] = {"Dagster": set(), "pools": set()}
    for pid, command in processes_of(ui.root).items():
        whose = "Dagster" if "dagster" in command or "xdask_pipelines.operations.webserver" in command else "pools"
        found = psutil.Process(pid).net_connections("tcp")
        listening[whose] |= {tuple(c.laddr) for c in found if c.status == psutil.CONN_LISTEN}
    assert listening["Dagster"] == {("127.0.0.1", urlsplit(ui.url).port)}
    assert {address for address, _ in listening["pools"]} == {"127.0.0.1"}
