"""Dagster's webserver answers its own UI; what a page of another origin can send never reaches Dagster."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from xdask_pipelines.operations.webserver import GuardedWebserver

PORT = 3000
HERE = f"http://127.0.0.1:{PORT}"
SOCKET = f"ws://127.0.0.1:{PORT}/graphql"
KEY = dg.AssetKey("kept")
WIPE = 'mutation {wipeAssets(assetPartitionRanges: [{assetKey: {path: ["kept"]}}]) {__typename}}'
ROUTES = (
    ("POST", "/graphql"),
    ("POST", "/report_asset_materialization/kept"),
    ("POST", "/report_asset_check/kept"),
    ("POST", "/report_asset_observation/kept"),
    ("GET", "/logs/a/b.err"),
    ("GET", "/notebook?path=a.ipynb&repoLocName=x"),
    ("GET", "/download_debug/0"),
    ("GET", "/server_info"),
    ("GET", "/"),
    ("OPTIONS", "/graphql"),
)


@pytest.fixture(scope="module")
def one_asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a history that holds one asset; to be copied: making its databases takes longer than any test here."""
    folder = tmp_path_factory.mktemp("history")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
    return folder


@pytest.fixture
def history(one_asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A history of one's own that holds one asset."""
    shutil.copytree(one_asset, tmp_path, dirs_exist_ok=True)
    shutil.copy(Path(__file__).parents[2] / "regions.yaml", tmp_path)
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def browser(history: dg.DagsterInstance) -> Iterator[TestClient]:
    with (
        WorkspaceProcessContext(history, EmptyWorkspaceTarget(), version="1") as context,
        TestClient(GuardedWebserver(context).create_asgi_app(), HERE) as client,
    ):
        yield client


def there(history: dg.DagsterInstance) -> bool:
    return KEY in history.all_asset_keys()


def refused(answer: Any) -> bool:
    return answer.status_code == 403 and set(answer.json()) == {"error"}


def test_the_ui_s_own_requests_are_answered(browser: TestClient, history: dg.DagsterInstance) -> None:
    page = browser.get("/asset-groups", headers={"Sec-Fetch-Site": "none"})
    assert "<html" in page.text
    assert page.headers["X-Frame-Options"] == "SAMEORIGIN"
    own = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    assert browser.post("/graphql", json={"query": "{version}"}, headers=own).json()["data"]["version"]
    assert browser.get("/graphql", headers={"Accept": "text/html", **own}).status_code == 200  # the playground
    assert browser.post("/graphql", json={"query": WIPE}, headers=own).status_code == 200
    assert not there(history)


def test_programs_are_answered(browser: TestClient) -> None:
    assert browser.post("/graphql", json={"query": "{version}"}).status_code == 200
    assert browser.post("/graphql", content="{version}", headers={"Content-Type": "application/graphql"}).json()["data"]
    assert browser.post("/report_asset_materialization/other?description=x").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        WIPE,
        "{version}",
        f"# {{version}}\n{WIPE}",
        f"query A {{version}} {WIPE.replace('mutation', 'mutation B')}",
        f"fragment F on Query {{version}} {WIPE}",
    ],
)
def test_no_graphql_by_get(browser: TestClient, history: dg.DagsterInstance, query: str) -> None:
    for method in (browser.get, browser.head):
        for name in ("", "&operationName=B", "&operationName=A"):
            answer = method(f"/graphql?query={quote(query)}{name}")
            assert answer.status_code == 403
    # The playground shows a query, and runs none.
    browser.get(f"/graphql?query={quote(query)}&operationName=B", headers={"Accept": "text/html"})
    assert there(history)


@pytest.mark.parametrize(
    "media", ["text/plain", "text/plain; x=application/json", "application/x-www-form-urlencoded", ""]
)
def test_no_graphql_in_a_body_that_a_form_can_send(
    browser: TestClient, history: dg.DagsterInstance, media: str
) -> None:
    headers = {"Content-Type": media} if media else {}
    body = '{"query": "%s"}' % WIPE.replace('"', '\\"')  # noqa: UP031
    assert refused(browser.post(f"/graphql?query={quote(WIPE)}", content=body, headers=headers))
    assert there(history)


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost:{PORT}"},
        {"Host": f"evil.example:{PORT}"},
        {"Host": f"evil.example:{PORT}", "Origin": f"http://evil.example:{PORT}", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_route_answers_another_origin(
    browser: TestClient, history: dg.DagsterInstance, sent: dict[str, str]
) -> None:
    for method, path in ROUTES:
        body = {"query": WIPE} if path == "/graphql" and method == "POST" else None
        answer = browser.request(method, path, json=body, headers=sent)
        assert refused(answer), path
        assert "access-control-allow-origin" not in answer.headers
    assert there(history)


def test_a_link_opens_a_page_but_no_file(browser: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert browser.get("/asset-groups", headers=link).status_code == 200
    for path in ("/graphql", "/logs/a/b.err", "/notebook", "/dagit/notebook", "/download_debug/0"):
        assert refused(browser.get(path, headers={"Accept": "text/html", **link}))


@pytest.mark.parametrize(
    "sent", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": f"evil.example:{PORT}"}]
)
def test_no_websocket_for_another_origin(browser: TestClient, sent: dict[str, str]) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, browser.websocket_connect(SOCKET, ["graphql-ws"], headers=sent):
        pass
    assert caught.value.code == 1008


def test_the_ui_s_own_websocket_is_answered(browser: TestClient) -> None:
    own = {"Origin": HERE, "Host": HERE.removeprefix("http://")}
    with browser.websocket_connect(SOCKET, ["graphql-ws"], headers=own) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}


def test_configured_hosts_are_answered(history: dg.DagsterInstance, tmp_path: Path) -> None:
    with (tmp_path / "regions.yaml").open("a") as file:
        file.write("ui_hosts: [localhost:8080]\n")
    with WorkspaceProcessContext(history, EmptyWorkspaceTarget(), version="1") as context:
        client = TestClient(GuardedWebserver(context).create_asgi_app(), HERE)
        own = {"Host": "localhost:8080", "Origin": "http://localhost:8080"}
        assert client.post("/graphql", json={"query": "{version}"}, headers=own).status_code == 200


def test_a_prefix_of_paths_opens_no_way_around(history: dg.DagsterInstance) -> None:
    """Dagster's webserver takes one from its environment too."""
    with WorkspaceProcessContext(history, EmptyWorkspaceTarget(), version="1") as context:
        client = TestClient(GuardedWebserver(context, "/ui").create_asgi_app(), HERE)
        assert refused(client.get(f"/ui/graphql?query={quote(WIPE)}"))
        assert refused(client.post(f"/ui/graphql?query={quote(WIPE)}"))
        assert client.post("/ui/graphql", json={"query": "{version}"}).status_code == 200
    assert there(history)
