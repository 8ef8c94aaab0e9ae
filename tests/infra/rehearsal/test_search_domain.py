"""The endpoint of the OpenSearch domain: who gets through, and in which words the others are refused."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials
from opensearchpy import OpenSearch, TransportError, Urllib3AWSV4SignerAuth

from infra.rehearsal.account.clients import access_key, secret_key, session_token
from infra.rehearsal.account.emulator import emulator
from infra.rehearsal.account.http_listener import Answer, HttpListener
from infra.rehearsal.account.proxy import Proxy, proxy
from infra.rehearsal.account.recorded_calls import Request
from infra.rehearsal.account.templates import Stack
from infra.rehearsal.domain.fine_grained_access import FineGrainedAccess
from infra.rehearsal.domain.role_statements import allows
from infra.rehearsal.domain.search_domain import SearchDomain, master_of, search_domain
from infra.rehearsal.domain.signatures import NotSigned, signer_of
from infra.rehearsal.servers.loopback import listening
from infra.rehearsal.servers.search_server import SearchServer
from tests.infra.rehearsal.written_assembly import ACCOUNT, CLIENT
from xdask_pipelines.catalog.opensearch import domain_roles
from xdask_pipelines.catalog.opensearch.opensearch_node import Node
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.placement.local.tls import AUTHORITY, NODE, NODE_KEY

DAGSTER, NOTEBOOK, STRANGER = "xdask-dagster-eu-west-2", "xdask-notebook-eu-west-2", "xdask-pool-us-east-1"
ARN = f"arn:aws:es:{CLIENT}:{ACCOUNT}:domain/xdask/*"
EVERY = {"Sid": "Catalog", "Effect": "Allow", "Action": "es:ESHttp*", "Resource": ARN}
ENDPOINT = "xdask.eu-west-2.ministack.local"


def session(role: str, hours: float = 1) -> Credentials:
    until = datetime.now(UTC) + timedelta(hours=hours)
    return Credentials(access_key(role), secret_key(role), session_token(role, until))


def signed(keys: Credentials, region: str = CLIENT, method: str = "POST", path: str = "/xdask-a,b/_search?size=1&q=a%2Cb",
           body: bytes = b'{"query": {}}') -> Request:  # fmt: skip
    """As opensearch-py signs."""
    url = f"https://{ENDPOINT}{path}"
    headers = Urllib3AWSV4SignerAuth(keys, region, "es")(method, url, body)
    return Request(method, path, {"host": ENDPOINT, **{k.lower(): v for k, v in headers.items()}}, body)


def signer(request: Request, after: timedelta = timedelta(0)) -> str:
    return signer_of(request, {access_key(DAGSTER): DAGSTER}, "es", CLIENT, datetime.now(UTC) + after)


def without(request: Request, name: str) -> Request:
    return replace(request, headers={k: v for k, v in request.headers.items() if k != name})


def test_what_a_role_signs_is_of_that_role_and_what_nobody_signs_of_nobody() -> None:
    request = signed(session(DAGSTER))
    assert signer(request) == DAGSTER
    assert signer(without(request, "authorization")) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: replace(r, body=b'{"query": 1}'), "signature we calculated does not match"),
        (lambda r: replace(r, path="/xdask-c/_search"), "signature we calculated does not match"),
        (lambda r: replace(r, method="DELETE"), "signature we calculated does not match"),
        (lambda r: replace(r, headers={**r.headers, "host": "other"}), "signature we calculated does not match"),
        (lambda r: without(r, "x-amz-security-token"), "security token included in the request is invalid"),
        (lambda r: without(r, "x-amz-date"), "Authorization header requires"),
        (lambda r: signed(session(STRANGER)), "security token included in the request is invalid"),
        (lambda r: signed(session(DAGSTER, -1)), "security token included in the request is expired"),
        (lambda r: signed(session(DAGSTER), "us-east-1"), "scoped to a valid region and correct service: 'es'"),
        (lambda r: signed(Credentials(access_key(DAGSTER), "x", session(DAGSTER).token)), "does not match"),
    ],
)
def test_another_signature_is_refused(change: Callable[[Request], Request], said: str) -> None:
    with pytest.raises(NotSigned, match=said):
        signer(change(signed(session(DAGSTER))))


@pytest.mark.parametrize(("minutes", "said"), [(6, "Signature expired"), (-6, "Signature not yet current")])
def test_an_old_signature_is_refused(minutes: int, said: str) -> None:
    with pytest.raises(NotSigned, match=said):
        signer(signed(session(DAGSTER)), timedelta(minutes=minutes))


def test_statements_with_conditions_allow_nothing_and_a_denial_wins() -> None:
    assert allows([EVERY], "es:ESHttpGet", ARN.replace("*", "a"))
    assert not allows([EVERY], "es:ESHttpGet", "arn:aws:es:eu-west-2:123456789012:domain/other/a")
    assert not allows([{**EVERY, "Condition": {"Bool": {"a": "b"}}}], "es:ESHttpGet", ARN)
    assert not allows([EVERY, {**EVERY, "Effect": "Deny"}], "es:ESHttpGet", ARN)


class Domain:
    """The endpoint before a node that answers everything, and clients of it."""

    def __init__(self, front: Proxy, endpoint: SearchDomain, port: int) -> None:
        self.front, self.endpoint, self.port = front, endpoint, port
        self.iam = endpoint._clients.of("iam", CLIENT)

    def ask(self, role: str, method: str = "GET", path: str = "/xdask-entries/_doc/1") -> Any:
        """Ask as a role, at the address at which it listens; the status of the answer and what it says."""
        context = ssl.create_default_context(cafile=str(self.endpoint.authority))
        context.check_hostname = False  # the name leads here in a container alone
        auth = Urllib3AWSV4SignerAuth(session(role), CLIENT, "es") if role else None
        hosts = [{"host": "127.0.0.1", "port": self.port}]
        client = OpenSearch(hosts=hosts, use_ssl=True, ssl_context=context, max_retries=0, http_auth=auth)
        try:
            client.transport.perform_request(method, path)
        except TransportError as error:
            info: Any = error.info
            return error.status_code, json.dumps(info)
        return 200, ""

    def policy(self, role: str, *statements: dict[str, Any]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        self.iam.put_role_policy(RoleName=role, PolicyName="one", PolicyDocument=document)
        self.endpoint._policies = None  # at once, and not after a second


@pytest.fixture
def domain(tmp_path: Path) -> Iterator[Domain]:
    make_certificates(tmp_path / "node")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "node" / AUTHORITY))
    context.load_cert_chain(tmp_path / "node" / NODE, tmp_path / "node" / NODE_KEY)
    context.verify_mode = ssl.CERT_REQUIRED
    node = HttpListener(
        lambda r: Answer(200, b'{"node": 1}', {"Content-Type": "application/json"}), listening(), context
    )
    server = SearchServer(int(node.url.rpartition(":")[2]), tmp_path / "node")
    with (
        emulator(ACCOUNT, tmp_path / "emulator") as found,
        proxy(found, tmp_path) as front,
        search_domain(front, server, CLIENT, tmp_path / "domain") as endpoint,
    ):
        one = Domain(front, endpoint, endpoint.listen(listening()))
        for role in (DAGSTER, NOTEBOOK, STRANGER):
            front.know(role)
            one.iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
            one.policy(role, EVERY)
        yield one
    node.close()


def create(domain: Domain) -> None:
    users = [f"arn:aws:iam::{ACCOUNT}:role/{role}" for role in (DAGSTER, NOTEBOOK)]
    access = {"Effect": "Allow", "Principal": {"AWS": users}, "Action": "es:ESHttp*", "Resource": ARN}
    domain.endpoint._clients.of("opensearch", CLIENT).create_domain(
        DomainName="xdask",
        AccessPolicies=json.dumps({"Version": "2012-10-17", "Statement": [access]}),
    )
    domain.endpoint._policies = None


def test_a_request_passes_that_both_policies_allow_and_is_recorded(domain: Domain) -> None:
    assert domain.endpoint.names() == {}
    create(domain)
    assert domain.endpoint.names() == {ENDPOINT: "127.0.0.1"}
    assert domain.ask(DAGSTER) == (200, "")
    call = domain.front.calls[-1]
    assert (call.role, call.service, call.operation, call.status) == (DAGSTER, "es", "ESHttpGet", 200)
    status, said = domain.ask(STRANGER)
    assert (status, "no resource-based policy allows the es:ESHttpGet action" in said) == (403, True)
    status, said = domain.ask("")
    assert (status, "User: anonymous is not authorized to perform: es:ESHttpGet" in said) == (403, True)
    domain.policy(DAGSTER, {**EVERY, "Action": "es:ESHttpGet"})
    assert domain.ask(DAGSTER) == (200, "")
    status, said = domain.ask(DAGSTER, "DELETE")
    assert (status, "no identity-based policy allows the es:ESHttpDelete action" in said) == (403, True)
    assert [call.status for call in domain.front.calls[-3:]] == [403, 200, 403]


def test_with_fine_grained_access_the_master_admits_other_roles(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(domain)
    domain.endpoint._access = FineGrainedAccess(f"arn:aws:iam::{ACCOUNT}:role/{DAGSTER}")
    status, said = domain.ask(NOTEBOOK)
    assert (status, "no permissions for [/xdask-entries/_doc/1]" in said) == (403, True)
    monkeypatch.setattr(Node, "_connected", lambda self: _client(domain))
    arn = f"arn:aws:iam::{ACCOUNT}:role/{NOTEBOOK}"
    for _ in range(2):
        domain_roles.admit("opensearch+https://localhost:1/xdask?aws_region=eu-west-2", [arn])
    assert domain.ask(NOTEBOOK) == (200, "")
    assert domain.ask(NOTEBOOK, "POST", "/_bulk") == (200, "")
    assert domain.ask(NOTEBOOK, "GET", "/other/_doc/1")[0] == 403
    assert domain.ask(NOTEBOOK, "PUT", "/_plugins/_security/api/roles/xdask")[0] == 403
    assert domain.ask(DAGSTER, "GET", "/other/_doc/1") == (200, "")


def test_the_master_is_that_of_the_templates() -> None:
    arn = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, f":iam::{ACCOUNT}:role/{DAGSTER}"]]}
    options = {"Enabled": True, "MasterUserOptions": {"MasterUserARN": arn}}
    for given, master in (({"AdvancedSecurityOptions": options}, DAGSTER), ({}, "")):
        template = {"Resources": {"Domain": {"Type": "AWS::OpenSearchService::Domain", "Properties": given}}}
        assert master_of([Stack("one", CLIENT, ACCOUNT, template)]) == master


def _client(domain: Domain) -> OpenSearch:
    context = ssl.create_default_context(cafile=str(domain.endpoint.authority))
    return OpenSearch(hosts=[{"host": "localhost", "port": domain.port}], use_ssl=True, ssl_context=context,
                      http_auth=Urllib3AWSV4SignerAuth(session(DAGSTER), CLIENT, "es"))  # fmt: skip
