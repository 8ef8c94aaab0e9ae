"""Requests to AWS, read as calls: which role asked what of which service, in which Region, with which parameters.

Belongs here: reading requests of every protocol of AWS by the models of botocore, and refusals. Does not belong here: other
answers (proxy), what is allowed (iam_contract).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

import botocore.session
from botocore.model import OperationModel
from botocore.parsers import RpcV2CBORParser

#: Services whose name in signatures is not that of their client.
_BY_SIGNING_NAME = {
    "monitoring": "cloudwatch",
    "es": "opensearch",
    "elasticfilesystem": "efs",
    "elasticloadbalancing": "elbv2",
    "servicequotas": "service-quotas",
}
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request")


class Refusal(Exception):
    """What AWS answers instead: the kind of error, and its message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Request:
    """One HTTP request as the proxy got it: header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Call:
    """One call of AWS.

    Attributes
    ----------
    key
        Access key id of the caller; empty without signature.
    region, service, operation
        Region, name of the service's client in boto3, and operation.
    parameters
        Of the operation; of the query protocol as flat names such as ``Filter.1.Name``.
    role
        Role of the caller, if its key is known.
    status
        Of the answer.
    """

    key: str
    region: str
    service: str
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    role: str = ""
    status: int = 0


def read_call(request: Request) -> Call:
    """Return the call that a request makes; the operation is empty if no model knows it."""
    key, region, signing = _signature(request)
    service = _BY_SIGNING_NAME.get(signing, signing)
    operation, parameters = _operation(request, service)
    return Call(key, region, service, operation, parameters)


def _signature(request: Request) -> tuple[str, str, str]:
    if hit := _CREDENTIAL.search(request.headers.get("authorization", "")):
        return hit[1], hit[2], hit[3]
    presigned = parse_qs(urlsplit(request.path).query).get("X-Amz-Credential")
    if presigned:
        key, _, region, service, _ = presigned[0].split("/")
        return key, region, service
    return "", "", "s3"  # only public buckets are asked without signature


def _operation(request: Request, service: str) -> tuple[str, Mapping[str, Any]]:
    if target := request.headers.get("x-amz-target"):
        return target.rpartition(".")[2], json.loads(request.body or b"{}")
    address = urlsplit(request.path)
    if hit := re.fullmatch(r"/service/\w+/operation/(\w+)", address.path):
        return hit[1], _read_cbor(request.body)
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded") and request.body:
        form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        return form.pop("Action", ""), {name: value for name, value in form.items() if name != "Version"}
    return _rest(request, service)


def _read_cbor(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    found: dict[str, Any] = RpcV2CBORParser().parse_data_item(io.BufferedReader(io.BytesIO(body)))
    return found


# ---- protocols that name the operation by method and path ---------------------------------------------------------------


@dataclass(frozen=True)
class _Route:
    operation: str
    pattern: re.Pattern[str]
    query: frozenset[tuple[str, str]]
    required: frozenset[str]
    headers: frozenset[str]
    fixed: int


def _rest(request: Request, service: str) -> tuple[str, Mapping[str, Any]]:
    address = urlsplit(request.path)
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    best: tuple[int, int, str, dict[str, str]] | None = None
    for route in _routes(service, request.method):
        hit = route.pattern.fullmatch(address.path)
        if not hit or not all(query.get(k) == v for k, v in route.query) or not route.required <= query.keys():
            continue
        if not route.headers <= request.headers.keys():
            continue
        narrow = len(route.query) + len(route.required) + len(route.headers)
        found = (narrow, route.fixed, route.operation, hit.groupdict())
        best = found if best is None or found[:2] > best[:2] else best
    if best is None:
        return "", {}
    inside = {name: unquote(value) for name, value in best[3].items()}
    return best[2], {**_body(request), **query, **inside}


@cache
def _routes(service: str, method: str) -> tuple[_Route, ...]:
    try:
        model = botocore.session.get_session().get_service_model(service)
    except botocore.exceptions.UnknownServiceError:
        return ()
    operations = [model.operation_model(name) for name in model.operation_names]
    return tuple(_route(each) for each in operations if each.http["method"] == method)


def _route(operation: OperationModel) -> _Route:
    path, _, query = operation.http["requestUri"].partition("?")
    parts = re.split(r"(\{\w+\+?\})", path)
    pattern = "".join(
        (f"(?P<{part.strip('{}+')}>{'.+' if '+' in part else '[^/]+'})" if part.startswith("{") else re.escape(part))
        for part in parts
    )
    fixed = sum(len(part) for part in parts if not part.startswith("{"))
    literal = frozenset(parse_qsl(query, keep_blank_values=True))
    required = _required(operation, "querystring")
    headers = frozenset(name.lower() for name in _required(operation, "header"))
    return _Route(operation.name, re.compile(pattern + "/?"), literal, required, headers, fixed)


def _required(operation: OperationModel, location: str) -> frozenset[str]:
    shape = operation.input_shape
    members = [shape.members[name].serialization for name in shape.required_members] if shape else []
    return frozenset(each["name"] for each in members if each.get("location") == location)


def _body(request: Request) -> dict[str, Any]:
    kind, body = request.headers.get("content-type", ""), request.body.strip()
    if body.startswith(b"{") and "octet" not in kind:
        try:
            found = json.loads(body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
    if body.startswith(b"<") and len(body) < 100_000:
        try:
            read = _xml(ElementTree.fromstring(body))
        except ElementTree.ParseError:
            return {}
        return read if isinstance(read, dict) else {}
    return {}


def _xml(element: ElementTree.Element) -> Any:
    """Read XML as nested dictionaries; what is there more than once is a list."""
    if not len(element):
        return element.text or ""
    found: dict[str, Any] = {}
    for child in element:
        name, value = child.tag.rpartition("}")[2], _xml(child)
        if name in found:
            before = found[name]
            found[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            found[name] = value
    return found
