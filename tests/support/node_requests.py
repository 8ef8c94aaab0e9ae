"""Requests to a real OpenSearch node that the catalog never makes, and addresses of other catalogs on the same node.

Belongs here: what several test files ask a node. Does not belong here: claims.
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from xdask_pipelines.catalog.opensearch.opensearch_address import Address


def name_of(address: str) -> str:
    """Name of the catalog at an address, with which the names of its indices begin."""
    return urlsplit(address).path.strip("/")


def named(address: str, name: str) -> str:
    """Address of the catalog of another name on the same node."""
    return urlsplit(address)._replace(path=f"/{name}").geturl()


def another(address: str, suffix: str) -> str:
    """Address of one more catalog on the same node, which is removed with the first."""
    return named(address, f"{name_of(address)}-{suffix}")


def connection(address: str) -> http.client.HTTPConnection:
    """A connection to the node, as the address asks for it."""
    at = Address.parse(address)
    if at.secure:
        return http.client.HTTPSConnection(at.host, at.port, timeout=60, context=at.context())
    return http.client.HTTPConnection(at.host, at.port, timeout=60)


def ask(address: str, method: str, path: str, body: str | None = None) -> Any:
    """What the node answers; refusals are failures."""
    asked = connection(address)
    kind = "application/x-ndjson" if "_bulk" in path else "application/json"
    asked.request(method, path, body, {"Content-Type": kind} if body else {})
    answer = asked.getresponse()
    content = answer.read()
    asked.close()
    assert answer.status < 300, (method, path, answer.status, content)
    return json.loads(content)
