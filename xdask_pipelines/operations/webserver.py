"""Dagster's webserver with a guard, and a `dagster dev` that starts it.

Belongs here: which requests reach Dagster, and the pictures of results. Does not belong here: starting and stopping (ui),
rules for browsers (browser_requests).

Dagster has no login, and accepts mutations by GET from any page. ``python -m xdask_pipelines.operations.webserver dev …`` is
``dagster dev …`` whose webserver is ``python -m xdask_pipelines.operations.webserver …``, so that no unguarded one listens.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import dagster_webserver.app
import dagster_webserver.cli
from dagster import AssetKey, DagsterEventType, DagsterInstance
from dagster._cli import dev
from dagster_shared.ipc import open_ipc_subprocess
from dagster_webserver.webserver import DagsterWebserver
from PIL import Image
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from xdask_pipelines.resources.result_summary import PICTURES, picture_in
from xdask_pipelines.system.browser_requests import ANSWER_HEADERS, own_hosts, refusal
from xdask_pipelines.topology import Topology, find_topology

_MODULE = "xdask_pipelines.operations.webserver"
_GRAPHQL = "/graphql"
#: Paths that return data, files or query results instead of a page of the UI.
_NOT_BY_LINK = (_GRAPHQL, "/logs", "/notebook", "/dagit", "/download_debug", "/report_asset", PICTURES)
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WIDTH_PIXELS = 460
#: A page of another origin cannot send these without a preflight request, which is refused.
_BODIES = ("application/json", "application/graphql")


class Guard:
    """ASGI middleware that refuses requests from pages of other origins, and GraphQL by GET.

    Parameters
    ----------
    app
        The guarded application.
    hosts
        Further values of the header Host, in addition to loopback with the server's own port.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        self.app = app
        self._hosts = tuple(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with 403 and the reason, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            problem = self._problem(scope, scope["method"]) or _graphql_problem(scope)
            app = JSONResponse({"error": problem}, status_code=403) if problem else self.app
            await app(scope, receive, _with_headers(send))
        else:
            closed = WebSocketClose(1008, "refused") if self._problem(scope, "GET") else None
            await (closed or self.app)(scope, receive, send)

    def _problem(self, scope: Scope, method: str) -> str | None:
        _, port = scope["server"]
        hosts = own_hosts(port, self._hosts)
        return refusal(method, scope["path"], Headers(scope=scope).items(), hosts, not_by_link=_NOT_BY_LINK)


def _graphql_problem(scope: Scope) -> str | None:
    """Return why a GraphQL request is refused: Dagster would execute mutations of any GET, and in the URL of any POST."""
    headers, graphql = Headers(scope=scope), scope["path"].endswith(_GRAPHQL)  # also below a prefix of paths
    if scope["method"] == "POST":
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media in _BODIES or (not media and not graphql):
            return None
        return f"The content type {media or 'of the request'!r} is not accepted. Send application/json."
    if graphql and "text/html" not in headers.get("accept", ""):  # the playground, which executes nothing
        return "GraphQL is not answered by GET. Send the query by POST as application/json."
    return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in ANSWER_HEADERS.items():
                headers[name] = value
        await send(message)

    return sending


def _hosts() -> list[str]:
    more = os.environ.get("XDASK_UI_HOSTS", "")
    return [*find_topology().ui_hosts, *(host for host in more.split(",") if host)]


class GuardedWebserver(DagsterWebserver):  # type: ignore[type-arg]
    """Dagster's webserver with the guard before all other middleware."""

    def build_middleware(self) -> list[Middleware]:
        """Return the middleware, with the guard first."""
        return [Middleware(Guard, hosts=_hosts()), *super().build_middleware()]

    def build_routes(self) -> list[BaseRoute]:
        """Return the routes, with that of pictures before the one that answers all other paths."""
        prefix = self._app_path_prefix or ""
        return [Route(f"{prefix}{PICTURES}/{{asset}}/{{run_id}}.png", self._picture), *super().build_routes()]  # type: ignore[no-untyped-call]

    def _picture(self, request: Request) -> Response:
        """Answer with the picture of a materialization: its file, or on another machine what the history holds."""
        asset, run_id = request.path_params["asset"], request.path_params["run_id"]
        png = picture_of_run(find_topology(), self._process_context.instance, asset, run_id)
        if png is None:
            return JSONResponse({"error": f"{asset} has no picture of the run {run_id}."}, status_code=404)
        return Response(_small(png), media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


def _small(png: bytes) -> bytes:
    """Return a picture with the width that remains on an asset's page next to its columns."""
    with Image.open(io.BytesIO(png)) as whole:
        small = whole.convert("RGB").resize((_WIDTH_PIXELS, round(_WIDTH_PIXELS * whole.height / whole.width)))
    content = io.BytesIO()
    small.save(content, "PNG")
    return content.getvalue()


def picture_of_run(topology: Topology, history: DagsterInstance, asset: str, run_id: str) -> bytes | None:
    """Return the picture of one materialization as PNG; None if there is none."""
    if not (asset.isidentifier() and _RUN_ID.fullmatch(run_id)):
        return None
    try:
        return (topology.var / "pictures" / asset / f"{run_id}.png").read_bytes()
    except OSError:
        found = history.get_records_for_run(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION).records
    for record in found:
        made = record.asset_materialization
        if made is not None and made.asset_key == AssetKey(asset):
            metadata = {name: value.value for name, value in made.metadata.items()}
            return base64.b64decode(encoded) if (encoded := picture_in(metadata)) else None
    return None


def _guarded_start(parts: Sequence[str], **options: Any) -> Any:
    """Start a process of `dagster dev`, with this module as the webserver."""
    return open_ipc_subprocess([_MODULE if part == "dagster_webserver" else part for part in parts], **options)


def main() -> None:
    """Run `dagster dev` or the webserver, by the first argument."""
    if sys.argv[1:2] == ["dev"]:
        dev.open_ipc_subprocess = _guarded_start  # type: ignore[attr-defined]
        dev.dev_command(sys.argv[2:])
    else:
        dagster_webserver.app.DagsterWebserver = GuardedWebserver  # type: ignore[attr-defined]
        dagster_webserver.cli.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
