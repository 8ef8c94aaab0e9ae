"""One OpenSearch node or domain: its address, requests that are tried again, and its errors in words.

Belongs here: connections and what can go wrong with them. Does not belong here: any meaning of its documents.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import orjson
from opensearchpy import JSONSerializer, OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import NotFoundError, OpenSearchException, SSLError, TransportError

from xdask_pipelines.errors import CatalogError

T = TypeVar("T")
SCHEMES = ("opensearch+http://", "opensearch+https://")
EXAMPLE = "opensearch+https://host:9200/xdask"
#: What a node answers while it is overloaded or restarts: it may answer the same request later.
PASSING = frozenset({429, 502, 503, 504})
_TRIES = 8
_FIRST_WAIT_SECONDS = 0.1
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Address:
    """Where a catalog lies: ``opensearch+https://host:port/name``.

    Parameters
    ----------
    secure
        Whether TLS is spoken. Without, only loopback is accepted.
    host, port
        Of the node, or of the domain's end point.
    name
        Prefix of the names of all indices.
    aws_region
        Sign requests with SigV4 for a domain in this Region; None: do not sign.
    ca
        File with the certificate of the authority to trust; None: those of the system.
    """

    secure: bool
    host: str
    port: int
    name: str
    aws_region: str | None = None
    ca: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read an address.

        Raises
        ------
        CatalogError
            It is not one, holds a password, or would send documents unencrypted to another machine.
        """
        try:
            parts = urlsplit(url.removeprefix("opensearch+"))
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 9200)
            options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise CatalogError(f"{url!r} is not a catalog address ({error}); write {EXAMPLE}") from error
        if parts.username or parts.password:
            raise CatalogError(
                f"The address of the catalog at {host} holds a name or password, which would end up in logs. Leave it "
                f"out: requests are signed with AWS credentials if the address ends in ?aws_region=REGION"
            )
        name = parts.path.strip("/")
        if not host or not re.fullmatch(r"[a-z][a-z0-9-]{0,60}", name) or set(options) - {"aws_region", "ca"}:
            raise CatalogError(
                f"{url!r} is not a catalog address; write {EXAMPLE} (the name in lower-case letters, digits and "
                f"hyphens), with ?aws_region=REGION to sign requests and ?ca=FILE to trust an authority"
            )
        secure = parts.scheme == "https"
        if not secure and host not in ("127.0.0.1", "localhost", "::1"):
            raise CatalogError(
                f"{url!r} would send documents unencrypted to another machine; write opensearch+https://"
            )
        return cls(secure, host, port, name, *(options.get(o, [None])[0] for o in ("aws_region", "ca")))

    def __str__(self) -> str:
        return f"opensearch+http{'s' if self.secure else ''}://{self.host}:{self.port}/{self.name}"


class _Serializer(JSONSerializer):
    """JSON of requests and answers: orjson reads a page of 10,000 entries in a fifth of the time."""

    def loads(self, s: str) -> Any:
        return orjson.loads(s)

    def dumps(self, data: Any) -> Any:
        return data if isinstance(data, (str, bytes)) else orjson.dumps(data)


class Node:
    """Requests to one node, from any thread and process; nothing is asked before it is needed."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._client: OpenSearch | None = None
        self._process = 0

    def __reduce__(self) -> tuple[type[Node], tuple[Address]]:
        return Node, (self.address,)

    def ask(self, request: Callable[[OpenSearch], T], *, missing: T | None = None) -> T:
        """Send a request, and again for a while where the answer is that of a busy node.

        Parameters
        ----------
        request
            Gets the client; must do no harm if it is sent twice, for an answer may be lost.
        missing
            What is answered if an index is not there; None: that is an error.

        Raises
        ------
        CatalogError
            The node does not answer or refuses.
        Conflict
            Another writer was faster.
        """
        for i in range(_TRIES):
            try:
                return request(self._connected())
            except NotFoundError as error:
                if missing is None:
                    raise CatalogError(
                        f"The catalog at {self.address} has lost an index: {_reason(error)}. Restore it from a snapshot; "
                        f"or delete all indices of the catalog, which begin with {self.address.name}-, and run xdask sync, "
                        f"which makes it anew from the data"
                    ) from error
                return missing
            except OpenSearchException as error:
                if isinstance(error, TransportError) and error.status_code == 409:
                    raise Conflict(str(error.status_code)) from error
                if not _passes(error) or i == _TRIES - 1:
                    raise CatalogError(self._in_words(error)) from error
                pause(i)
        raise AssertionError

    def _connected(self) -> OpenSearch:
        with self._lock:
            if self._client is None or self._process != os.getpid():  # a fork shares no connection
                at = self.address
                self._client = OpenSearch(
                    hosts=[{"host": at.host, "port": at.port}],
                    http_auth=_signer(at.aws_region) if at.aws_region else None,
                    use_ssl=at.secure,
                    verify_certs=True,
                    ca_certs=at.ca,
                    connection_class=Urllib3HttpConnection,
                    serializer=_Serializer(),
                    pool_maxsize=8,
                    timeout=_TIMEOUT_SECONDS,
                    max_retries=0,
                )
                logging.getLogger("opensearch").setLevel(logging.CRITICAL)  # what fails is told by us, or tried again
                self._process = os.getpid()
            return self._client

    def _in_words(self, error: OpenSearchException) -> str:
        if isinstance(error, SSLError):
            return (
                f"The catalog at {self.address} shows a certificate that nothing here trusts ({error.error}). Name its "
                f"authority with ?ca=FILE at the end of the address"
            )
        if isinstance(error, NoConnection):
            return (
                f"The catalog at {self.address} does not answer ({error.error}). Is it running, and does the network "
                f"let this machine reach it? Locally: make opensearch"
            )
        if isinstance(error, TransportError) and error.status_code in (401, 403):
            return (
                f"The catalog at {self.address} refuses this identity ({_reason(error)}). Give it a role that may use "
                f"the domain, and sign requests with ?aws_region=REGION at the end of the address"
            )
        return f"The catalog at {self.address} refuses a request: {_reason(error)}"


class Conflict(Exception):
    """Another writer changed the same document first."""


def pause(i: int, first: float | None = None) -> None:
    """Wait before the ``i``-th further try: twice as long each time, and never as long as others do."""
    time.sleep(min(5.0, (first or _FIRST_WAIT_SECONDS) * 2**i) * random.uniform(0.5, 1.5))


def _passes(error: OpenSearchException) -> bool:
    if isinstance(error, SSLError):
        return False
    return isinstance(error, NoConnection) or (isinstance(error, TransportError) and error.status_code in PASSING)


def _reason(error: OpenSearchException) -> str:
    """What a node says, on one line."""
    info: Any = error.info if isinstance(error, TransportError) else str(error)
    if isinstance(info, dict):
        cause = info.get("error", info)
        info = cause.get("reason", cause) if isinstance(cause, dict) else cause
    return " ".join(str(info).split())[:500]


def _signer(region: str) -> Urllib3AWSV4SignerAuth:
    import boto3

    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise CatalogError(
            f"Requests to the catalog are to be signed for {region}, and there are no AWS credentials. Log in (`aws sso "
            f"login`), or run where a role gives them"
        )
    return Urllib3AWSV4SignerAuth(credentials, region, "es")
