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
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import urllib3

from infra.rehearsal.account.clients import OPERATOR, EmulatedClients, access_key
from infra.rehearsal.account.ecs_answers import EcsAnswers
from infra.rehearsal.account.emulator import Emulator
from infra.rehearsal.account.fsx_twin import FsxTwin
from infra.rehearsal.account.http_listener import Answer, HttpListener
from infra.rehearsal.account.recorded_calls import Call, Refusal, Request, read_call
from infra.rehearsal.account.s3_forward import signed_again
from infra.rehearsal.account.task_states import TaskStates
from infra.rehearsal.servers.s3_server import S3Server

_JSON = "application/x-amz-json-1.1"
#: Services whose errors are XML.
_XML = frozenset({"s3", "route53"})
_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive", "server", "date")
_INTERFACE = re.compile(r"eni-[0-9a-f]{17}")
_NETWORK_INTERFACES = """<DescribeNetworkInterfacesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<networkInterfaceSet>{items}</networkInterfaceSet></DescribeNetworkInterfacesResponse>"""
_NETWORK_INTERFACE = """<item><networkInterfaceId>{id}</networkInterfaceId><privateIpAddress>{address}</privateIpAddress>
<privateIpAddressesSet><item><privateIpAddress>{address}</privateIpAddress><primary>true</primary></item>
</privateIpAddressesSet><status>in-use</status></item>"""


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
        #: Roles by the access key id of their sessions.
        self.roles = {access_key(OPERATOR): OPERATOR}
        self._http = urllib3.PoolManager(maxsize=64, retries=False, timeout=60)
        self._record, self._lock = record.open("a", encoding="utf-8"), Lock()
        self._listeners: list[HttpListener] = []

    def know(self, role: str) -> None:
        """Let calls with the access key of a role be recorded with its name."""
        self.roles[access_key(role)] = role

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
        found = HttpListener(partial(self.handle, services=services), listener)
        self._listeners.append(found)
        return found.url

    def close(self) -> None:
        """Stop listening."""
        for each in self._listeners:
            each.close()
        self._record.close()

    # ---- one request ------------------------------------------------------------------------------------------------

    def handle(self, request: Request, services: frozenset[str] | None = None) -> Answer:
        """Record a request as a call, and answer it."""
        call = read_call(request)
        call = replace(call, role=self.roles.get(call.key, "anonymous" if not call.key else "unknown"))
        if services is not None and call.service not in services:
            answer = refusal(Refusal("EndpointConnectionError", f"{call.service} cannot be reached from here"), 403)
        else:
            answer = self._answer(call, request)
        self.record(call, answer.status)
        return answer

    def _answer(self, call: Call, request: Request) -> Answer:
        if pending := self.faults.get((call.service, call.operation)):
            return _xml_refusal(pending.pop(0)) if call.service in _XML else refusal(pending.pop(0))
        try:
            if call.service == "ecs":
                return self._ask_ecs(call, request)
            if call.service == "fsx" and (twin := self.fsx(call.region)):
                return _json(twin.answer(call.operation, dict(call.parameters)))
        except Refusal as error:
            return refusal(error)
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
            with self.states.scaling:
                changed = self._ecs.before[call.operation](call)
                answer = self._forward(replace(request, body=json.dumps(changed).encode()))
        else:
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

    def record(self, call: Call, status: int) -> None:
        """Add a call to the record, with the status of its answer."""
        call = replace(call, status=status)
        with self._lock:
            self.calls.append(call)
            self._record.write(json.dumps(asdict(call), default=str) + "\n")
            self._record.flush()


def _json(document: Mapping[str, Any]) -> Answer:
    return Answer(200, json.dumps(document, default=str).encode(), {"Content-Type": _JSON})


def _xml_refusal(error: Refusal) -> Answer:
    inside = f"<Error><Code>{error.kind}</Code><Message>{error}</Message></Error>"
    return Answer(403, inside.encode(), {"Content-Type": "text/xml"})


def refusal(error: Refusal, status: int = 400) -> Answer:
    """Return an error as services answer it whose protocol is JSON."""
    document = {"__type": error.kind, "message": str(error), "Message": str(error)}
    return Answer(status, json.dumps(document).encode(), {"Content-Type": _JSON})


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
