"""An HTTP proxy between the program and the emulator: it records every call, and supplies what the emulator lacks.

Belongs here: the server, which calls go where, the record. Does not belong here: answers (ecs_answers, fsx_twin,
s3_forward), processes (agent).
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import urllib3

from infra.rehearsal.account.clients import OPERATOR, EmulatedClients, access_key
from infra.rehearsal.account.ecs_answers import EcsAnswers, Refusal
from infra.rehearsal.account.emulator import Emulator
from infra.rehearsal.account.fsx_twin import FsxTwin, Refused
from infra.rehearsal.account.recorded_calls import Call, Request, read_call
from infra.rehearsal.account.s3_forward import signed_again
from infra.rehearsal.account.task_states import TaskStates
from infra.rehearsal.servers.s3_server import S3Server

_JSON = "application/x-amz-json-1.1"
_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive", "server", "date")
_INTERFACE = re.compile(r"eni-[0-9a-f]{17}")
_NETWORK_INTERFACES = """<DescribeNetworkInterfacesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<networkInterfaceSet>{items}</networkInterfaceSet></DescribeNetworkInterfacesResponse>"""
_NETWORK_INTERFACE = """<item><networkInterfaceId>{id}</networkInterfaceId><privateIpAddress>{address}</privateIpAddress>
<privateIpAddressesSet><item><privateIpAddress>{address}</privateIpAddress><primary>true</primary></item>
</privateIpAddressesSet><status>in-use</status></item>"""


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Proxy:
    """Calls on their way to the emulator.

    Parameters
    ----------
    emulator
        What answers.
    states
        Of ECS tasks, shared with the agent.
    s3
        A real S3 server for all calls of S3 of roles; without it the emulator answers them.
    record
        File that gets a line of JSON for each call.
    """

    def __init__(self, emulator: Emulator, states: TaskStates, record: Path, s3: S3Server | None = None) -> None:
        self.emulator, self.states, self.s3 = emulator, states, s3
        #: FSx of a Region, if anything has file systems there.
        self.fsx: Callable[[str], FsxTwin | None] = lambda region: None
        self.calls: list[Call] = []
        #: Refusals to answer with, by service and operation, for as many calls as are listed: faults for tests.
        self.faults: dict[tuple[str, str], list[Refusal]] = {}
        self._ecs = EcsAnswers(EmulatedClients(url=emulator.url), states)
        self._roles = {access_key(OPERATOR): OPERATOR}
        self._http = urllib3.PoolManager(maxsize=64, retries=False, timeout=60)
        self._record, self._lock = record.open("a", encoding="utf-8"), Lock()
        self._servers: list[ThreadingHTTPServer] = []

    def know(self, role: str) -> None:
        """Let calls with the access key of a role be recorded with its name."""
        self._roles[access_key(role)] = role

    # ---- listening --------------------------------------------------------------------------------------------------

    def listen(self, listener: socket.socket, services: frozenset[str] | None = None) -> str:
        """Answer at a listening socket; the address of the proxy there.

        Parameters
        ----------
        listener
            May belong to another network namespace than this process.
        services
            Services that can be reached there; all by default. Worker tasks reach nothing but S3.
        """
        handler = type("Handler", (_Handler,), {"proxy": self, "services": services})
        host, port = listener.getsockname()[:2]
        server = ThreadingHTTPServer((host, port), handler, bind_and_activate=False)
        server.socket.close()
        server.socket, server.daemon_threads = listener, True
        self._servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return f"http://{host}:{port}"

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._record.close()

    # ---- one request ------------------------------------------------------------------------------------------------

    def handle(self, request: Request, services: frozenset[str] | None = None) -> Answer:
        """Record a request as a call, and answer it."""
        call = read_call(request)
        call = replace(call, role=self._roles.get(call.key, "anonymous" if not call.key else "unknown"))
        if services is not None and call.service not in services:
            answer = _refusal(Refusal("EndpointConnectionError", f"{call.service} cannot be reached from here"), 403)
        else:
            answer = self._answer(call, request)
        self._write(replace(call, status=answer.status))
        return answer

    def _answer(self, call: Call, request: Request) -> Answer:
        if pending := self.faults.get((call.service, call.operation)):
            return _refusal(pending.pop(0))
        try:
            if call.service == "ecs":
                return self._ask_ecs(call, request)
            if call.service == "fsx" and (twin := self.fsx(call.region)):
                return _json(twin.answer(call.operation, dict(call.parameters)))
        except (Refusal, Refused) as error:
            return _refusal(error)
        if call.service == "ec2" and call.operation == "DescribeNetworkInterfaces":
            found = _INTERFACE.findall(json.dumps(call.parameters))
            tasks = [task for task in map(self.states.at_interface, found) if task]
            if tasks:
                items = "".join(_NETWORK_INTERFACE.format(id=t.interface, address=t.address) for t in tasks)
                return Answer(200, _NETWORK_INTERFACES.format(items=items).encode(), {"Content-Type": "text/xml"})
        if call.service == "s3" and self.s3 and call.role != OPERATOR:
            return self._send(request.method, *signed_again(request, self.s3.url))
        answer = self._forward(request)
        if call.service == "route53":  # the emulator forgets that zones of templates are those of VPCs
            answer.body = answer.body.replace(b"<PrivateZone>false<", b"<PrivateZone>true<")
        return answer

    def _ask_ecs(self, call: Call, request: Request) -> Answer:
        if call.operation in self._ecs.instead:
            return _json(self._ecs.instead[call.operation](call))
        if call.operation in self._ecs.before:
            request = replace(request, body=json.dumps(self._ecs.before[call.operation](call)).encode())
        answer = self._forward(request)
        if call.operation in self._ecs.after and answer.status == 200:
            document = json.loads(answer.body)
            self._ecs.after[call.operation](call, document)
            return _json(document)
        return answer

    def _forward(self, request: Request) -> Answer:
        dropped = ("host", "connection", "content-length", "accept-encoding", "expect")
        headers = {name: value for name, value in request.headers.items() if name not in dropped}
        return self._send(request.method, self.emulator.url + request.path, headers, request.body)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        found = self._http.request(
            method, url, headers=headers, body=body or None, redirect=False, preload_content=True, decode_content=False
        )
        kept = {name: value for name, value in found.headers.items() if name.lower() not in _HOP_BY_HOP}
        if method == "HEAD" and "Content-Length" in found.headers:
            kept["Content-Length"] = found.headers["Content-Length"]
        return Answer(found.status, found.data, kept)

    def _write(self, call: Call) -> None:
        with self._lock:
            self.calls.append(call)
            self._record.write(json.dumps(asdict(call), default=str) + "\n")
            self._record.flush()


def _json(document: Mapping[str, Any]) -> Answer:
    return Answer(200, json.dumps(document, default=str).encode(), {"Content-Type": _JSON})


def _refusal(error: Refusal | Refused, status: int = 400) -> Answer:
    document = {"__type": error.kind, "message": str(error), "Message": str(error)}
    return Answer(status, json.dumps(document).encode(), {"Content-Type": _JSON})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True  # else each answer waits 40 ms for an acknowledgement
    proxy: Proxy
    services: frozenset[str] | None

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self._body())
        try:
            answer = self.proxy.handle(request, self.services)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            answer = Answer(503, str(error).encode(), {"Content-Type": "text/plain"})
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _any  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return content

    def log_message(self, *args: object) -> None:
        return


@contextmanager
def proxy(
    emulator: Emulator, folder: Path, states: TaskStates | None = None, s3: S3Server | None = None
) -> Iterator[Proxy]:
    """Run a proxy, which listens nowhere yet; ``calls.jsonl`` in the folder is its record."""
    found = Proxy(emulator, states or TaskStates(), folder / "calls.jsonl", s3)
    try:
        yield found
    finally:
        found.close()
