"""The endpoint of the OpenSearch domain: HTTPS with a certificate of its own, signatures, policies; a real node behind it.

Belongs here: what the service does before a request reaches a node. Does not belong here: signatures (signatures), roles of
the domain (fine_grained_access), the node (servers.search_server).

Where role and domain are of one account, AWS lets a request pass that one of the two policies allows. Here both have to, so
that neither is forgotten.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from threading import Lock
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import urllib3

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.http_listener import Answer, HttpListener
from infra.rehearsal.account.proxy import Proxy
from infra.rehearsal.account.recorded_calls import Call, Request
from infra.rehearsal.account.templates import Stack
from infra.rehearsal.domain.fine_grained_access import FineGrainedAccess
from infra.rehearsal.domain.role_statements import Statement, allows, principals, statements_in, statements_of
from infra.rehearsal.domain.signatures import NotSigned, signer_of
from infra.rehearsal.servers.search_server import SearchServer
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.placement.local.tls import AUTHORITY, NODE, NODE_KEY
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.topology.aws_names import PREFIX, SEARCH_DOMAIN

#: How IAM calls the service.
SERVICE = "es"
#: How long the policies that were read are valid; IAM itself takes seconds to follow a change.
_POLICY_SECONDS = 1.0
#: Of the names that the emulator gives to domains.
_ZONE = "ministack.local"
_KEPT = ("content-type", "accept")


@dataclass(frozen=True)
class _Policies:
    """What a request is held against: the domain's ARN, name and access policy, and statements by role."""

    arn: str
    name: str
    access: list[Statement]
    statements: dict[str, list[Statement]] = field(default_factory=dict)
    read: float = field(default_factory=monotonic)


class SearchDomain:
    """The domain of a deployment.

    Parameters
    ----------
    proxy
        Knows roles by their keys, and records calls.
    node
        Answers what is allowed.
    region
        Of the domain.
    certificates
        New folder for the authority and the certificate of the endpoint.
    master
        Role that administers the domain with fine-grained access control; empty without it.
    """

    def __init__(self, proxy: Proxy, node: SearchServer, region: str, certificates: Path, master: str = "") -> None:
        self._proxy, self._region = proxy, region
        self._clients = EmulatedClients(url=proxy.emulator.url)
        make_certificates(certificates, (f"*.{region}.{_ZONE}",))
        #: File with the authority of the endpoint, which callers have to trust.
        self.authority = certificates / AUTHORITY
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_cert_chain(certificates / NODE, certificates / NODE_KEY)
        self._http = urllib3.PoolManager(
            maxsize=32,
            retries=False,
            timeout=120,
            cert_file=str(node.certificates / NODE),
            key_file=str(node.certificates / NODE_KEY),
            ca_certs=str(node.certificates / AUTHORITY),
        )
        self._node = f"https://127.0.0.1:{node.port}"
        self._policies: _Policies | None = None
        self._access = FineGrainedAccess(self._arn(master)) if master else None
        self._lock = Lock()
        self._listeners: list[HttpListener] = []

    def names(self) -> dict[str, str]:
        """Return the address of the endpoint by its name; nothing while there is no domain."""
        found = self._current()
        return {found.name: LOOPBACK} if found else {}

    def listen(self, listener: socket) -> int:
        """Answer at a listening socket, which may belong to another network namespace; its port."""
        port: int = listener.getsockname()[1]
        self._listeners.append(HttpListener(self.handle, listener, self._context))
        return port

    def listen_on_loopback(self, listener: socket) -> str:
        """Answer at a socket of this machine, whose port is not that of the endpoint; the catalog's address there."""
        name = f"{SEARCH_DOMAIN}.{self._region}.{_ZONE}"
        return f"opensearch+https://{name}:{self.listen(listener)}/{PREFIX}?aws_region={self._region}"

    def close(self) -> None:
        """Stop listening."""
        for each in self._listeners:
            each.close()

    # ---- one request ------------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Answer:
        """Refuse a request or let it pass, and record it as a call."""
        path = urlsplit(request.path).path
        action = f"ESHttp{request.method.capitalize()}"
        call = Call("", self._region, SERVICE, action, {"path": path}, role="unknown")
        policies = self._current()
        if policies is None:
            return _json(404, {"message": f"there is no domain in {self._region}"})
        answer = None
        try:
            role = signer_of(request, self._proxy.roles, SERVICE, self._region, datetime.now(UTC))
            call = Call(call.key, call.region, SERVICE, action, call.parameters, role=role or "anonymous")
            problem = self._refusal(policies, role, f"{SERVICE}:{action}", path)
            if problem:
                answer = _json(403, {"Message": problem})
        except NotSigned as error:
            answer = _json(403, {"message": str(error)})
        if answer is None:
            answer = self._admitted(request, call.role, path)
        self._proxy.record(call, answer.status)
        return answer

    def _refusal(self, policies: _Policies, role: str, action: str, path: str) -> str:
        """Return why the policies refuse a call, in the words of the service; empty if they allow it."""
        if not role:
            why = f"because no resource-based policy allows the {action} action"
            return f"User: anonymous is not authorized to perform: {action} {why}"
        arn, resource = self._arn(role), f"{policies.arn}{path}"
        who = f"User: {arn.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/session"
        mine = [each for each in policies.access if arn in principals(each)]
        if not allows(mine, action, resource):
            kind = "resource"
        elif not allows(self._statements(policies, role), action, resource):
            kind = "identity"
        else:
            return ""
        return f"{who} is not authorized to perform: {action} because no {kind}-based policy allows the {action} action"

    def _admitted(self, request: Request, role: str, path: str) -> Answer:
        if self._access:
            if problem := self._access.refusal(self._arn(role), path):
                return _json(403, {"error": {"type": "security_exception", "reason": problem}, "status": 403})
            if answer := self._access.answer(request.method, path, request.body):
                return _json(*answer)
        found = self._http.request(
            request.method,
            self._node + request.path,
            headers={name: request.headers[name] for name in _KEPT if name in request.headers},
            body=request.body or None,
            redirect=False,
        )
        kind = found.headers.get("Content-Type", "application/json")
        length = {"Content-Length": found.headers.get("Content-Length", "0")} if request.method == "HEAD" else {}
        return Answer(found.status, found.data, {"Content-Type": kind, **length})

    # ---- policies ---------------------------------------------------------------------------------------------------

    def _arn(self, role: str) -> str:
        return f"arn:aws:iam::{self._proxy.emulator.account}:role/{role}"

    def _current(self) -> _Policies | None:
        with self._lock:
            if self._policies is None or monotonic() - self._policies.read > _POLICY_SECONDS:
                self._policies = self._read()
            return self._policies

    def _read(self) -> _Policies | None:
        api = self._clients.of("opensearch", self._region)
        if SEARCH_DOMAIN not in {each["DomainName"] for each in api.list_domain_names()["DomainNames"]}:
            return None
        domain = api.describe_domain(DomainName=SEARCH_DOMAIN)["DomainStatus"]
        endpoint = domain.get("Endpoint") or domain["Endpoints"]["vpc"]
        policy = domain.get("AccessPolicies") or '{"Statement": []}'
        return _Policies(domain["ARN"], endpoint.partition(":")[0], statements_in(json.loads(policy)))

    def _statements(self, policies: _Policies, role: str) -> list[Statement]:
        with self._lock:
            if role not in policies.statements:
                policies.statements[role] = statements_of(self._clients.of("iam", self._region), role)
            return policies.statements[role]


def master_of(stacks: Iterable[Stack]) -> str:
    """Return the role that administers the domain of some templates; empty without fine-grained access control.

    The API of the service does not say it.
    """
    for stack in stacks:
        for properties in stack.of_type("AWS::OpenSearchService::Domain").values():
            options = properties.get("AdvancedSecurityOptions", {})
            if options.get("Enabled") and (hit := re.search(r"role/([\w-]+)", json.dumps(options))):
                return hit[1]
    return ""


def _json(status: int, document: Mapping[str, Any]) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


@contextmanager
def search_domain(
    proxy: Proxy, node: SearchServer, region: str, certificates: Path, master: str = ""
) -> Iterator[SearchDomain]:
    """Run the endpoint of a domain, which listens nowhere yet; see `SearchDomain`."""
    found = SearchDomain(proxy, node, region, certificates, master)
    try:
        yield found
    finally:
        found.close()
