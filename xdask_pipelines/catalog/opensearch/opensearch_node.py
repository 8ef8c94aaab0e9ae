"""One OpenSearch node or domain: requests with retries, and error messages.

Belongs here: connections and their errors. Does not belong here: addresses and credentials (opensearch_address), the
meaning of documents (opensearch_index).
"""

from __future__ import annotations

import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import NotFoundError, OpenSearchException, SSLError, TransportError

from xdask_pipelines.catalog.opensearch.opensearch_address import Address
from xdask_pipelines.catalog.opensearch.opensearch_answers import (
    CheckedConnection,
    GarbledAnswer,
    JsonObjects,
    PartialAnswer,
)
from xdask_pipelines.errors import CatalogError

T = TypeVar("T")
#: Statuses of a node that is overloaded or restarts; the same request may succeed later.
PASSING = frozenset({429, 502, 503, 504})
#: Timeouts of retries: before any answer, because a wrong address should be reported soon; and after an answer, because
#: the node may be restarting, which takes 10 s on a laptop and a minute on a busy domain.
FIRST_PATIENCE_SECONDS = 0.5
PATIENCE_SECONDS = 180.0
_FIRST_WAIT_SECONDS = 0.1
#: Largest request or answer, unless a single document is larger. Small instances of AWS domains accept 10 MiB. A node
#: accepts 100 MB, but holds each request several times in a heap that may have 1 GB.
MAX_BODY_BYTES = 8_000_000


class Node:
    """Requests to one node, from any thread and process; it connects on first use."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._client: OpenSearch | None = None
        self._process = 0
        self._has_answered = self._gave_up = False

    def __reduce__(self) -> tuple[type[Node], tuple[Address]]:
        return Node, (self.address,)

    def ask(self, request: Callable[[OpenSearch], T]) -> T:
        """Send a request, with retries while the node is busy or restarts.

        Parameters
        ----------
        request
            Function of the client. It must be idempotent, because an answer may be lost.

        Raises
        ------
        LostIndex
            If an index or a document does not exist.
        CatalogError
            If the node does not answer or refuses the request.
        Conflict
            If another writer was faster.
        """
        began, tries = time.monotonic(), 0
        while True:
            try:
                answer = self._answer_of(request)
            except NotFoundError as error:
                raise LostIndex(
                    f"The catalog at {self.address} has lost an index: {_reason(error)}. Restore it from a snapshot; or "
                    f"delete all indices of the catalog, which begin with {self.address.name}-, and run xdask sync, which "
                    f"rebuilds it from the data"
                ) from error
            except OpenSearchException as error:
                if isinstance(error, TransportError) and error.status_code == 409:
                    raise Conflict(str(error.status_code)) from error
                stranger = not self._has_answered and isinstance(error, (NoConnection, GarbledAnswer))
                patience = FIRST_PATIENCE_SECONDS if stranger or self._gave_up else PATIENCE_SECONDS
                if _refusal(error):
                    self._client = None  # the certificate files may have changed before the next request
                if not _passes(error):
                    raise CatalogError(self._in_words(error, time.monotonic() - began)) from error
                if time.monotonic() - began > patience:
                    self._gave_up = True  # later requests, such as aborting a commit, wait less long
                    raise CatalogError(self._in_words(error, time.monotonic() - began)) from error
                pause(tries)
                tries += 1
            else:
                self._has_answered, self._gave_up = True, False
                return answer

    def _answer_of(self, request: Callable[[OpenSearch], T]) -> T:
        """Send a request and parse its answer; an answer that cannot be parsed does not come from the node."""
        client = self._connected()
        try:
            return request(client)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GarbledAnswer(f"JSON without the requested fields ({type(error).__name__}: {error})") from error

    def _connected(self) -> OpenSearch:
        with self._lock:
            if self._client is None or self._process != os.getpid():  # connections cannot be shared after a fork
                at = self.address
                self._client = OpenSearch(
                    hosts=[{"host": at.host, "port": at.port}],
                    http_auth=_signer(at.aws_region) if at.aws_region else None,
                    use_ssl=at.secure,
                    ssl_context=at.context() if at.secure else None,
                    connection_class=CheckedConnection,
                    serializer=JsonObjects(),
                    pool_maxsize=8,
                    max_retries=0,
                )
                logging.getLogger("opensearch").setLevel(logging.CRITICAL)  # errors are reported by us, or retried
                self._process = os.getpid()
            return self._client

    def _in_words(self, error: OpenSearchException, seconds: float) -> str:
        if refusal := _refusal(error):
            return _tls_in_words(self.address, refusal)
        if isinstance(error, NoConnection):
            return (
                f"The catalog at {self.address} does not answer ({error.error}), after {seconds:.0f} s of retries. Check "
                f"that it is running and reachable from this machine. `xdask opensearch up` starts a local "
                f"node and prints its address, for `catalog:` in regions.yaml"
            )
        if isinstance(error, GarbledAnswer):
            return (
                f"The catalog at {self.address} sent an answer that is not from OpenSearch: {error}. A proxy or another "
                f"service answers instead, or truncates answers. Check the output of `{self.address.curl}`, "
                f"correct `catalog:` in regions.yaml or that proxy, then try again"
            )
        if isinstance(error, PartialAnswer):
            return (
                f"The catalog at {self.address} sends incomplete answers, after {seconds:.0f} s of retries: {error}. Check "
                f"`{self.address.curl}/_cluster/health`: wait while it is red, or restore the index from a snapshot"
            )
        if isinstance(error, TransportError) and error.status_code == 413:
            return (
                f"The catalog at {self.address} refuses requests of this size (HTTP status 413). Requests have at most "
                f"{MAX_BODY_BYTES / 1e6:.0f} MB, or one document: raise http.max_content_length of the node, or the limit "
                f"of the proxy before it, to 10 MB, then try again"
            )
        if isinstance(error, TransportError) and error.status_code in (401, 403):
            return (
                f"The catalog at {self.address} refuses this identity ({_reason(error)}). Give it a role that may use "
                f"the domain, and sign requests with ?aws_region=REGION at the end of the address"
            )
        return f"The catalog at {self.address} refuses a request: {_reason(error)}"


class LostIndex(CatalogError):
    """A requested index or document does not exist."""


class Conflict(Exception):
    """Another writer changed the same document first."""


def pause(i: int, first: float | None = None) -> None:
    """Wait before the ``i``-th retry: exponential backoff with jitter."""
    time.sleep(min(5.0, (first or _FIRST_WAIT_SECONDS) * 2**i) * random.uniform(0.5, 1.5))


def _refusal(error: OpenSearchException) -> ssl.SSLError | None:
    """Return the TLS error between a node and this process, unless the node ended during a handshake."""
    info: Any = error.info if isinstance(error, SSLError) else None
    cause = next(iter(getattr(info, "args", ())), None)
    ended = isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    return cause if isinstance(cause, ssl.SSLError) and not ended else None


def _tls_in_words(at: Address, error: ssl.SSLError) -> str:
    ours = "`xdask opensearch up` prints the address of its node"
    expired = (
        "If it has expired, renew it with the command that created it: `xdask opensearch up`, or `xdask certs` and a "
        "restart of the node."
    )
    if isinstance(error, ssl.SSLCertVerificationError):
        shows = f"The catalog at {at} has a certificate that this process does not trust ({error.verify_message})."
        if at.certs is None:
            trust = "Set its authority with ?ca=FILE, or with ?certs=FOLDER if it requires client certificates"
            return f"{shows} {trust}: {ours}"
        return f"{shows} {expired} Otherwise the node at this address is not the one of {at.certs}: {ours}"
    if "ALERT" not in (error.reason or ""):
        return (
            f"The catalog at {at} does not use TLS ({error.reason}). If it is on this machine, write opensearch+http://"
        )
    if at.certs is None:
        return (
            f"The catalog at {at} refuses clients without a certificate ({error.reason}). End its address with "
            f"?certs=FOLDER: {ours}"
        )
    return (
        f"The catalog at {at} refuses the certificate in {at.certs} ({error.reason}). {expired} Otherwise name the folder "
        f"of this node: {ours}"
    )


def _passes(error: OpenSearchException) -> bool:
    if _refusal(error):
        return False
    if isinstance(error, TransportError) and not isinstance(error, NoConnection):
        return error.status_code in PASSING
    return isinstance(error, (NoConnection, GarbledAnswer, PartialAnswer))


def _reason(error: OpenSearchException) -> str:
    """Return the reason that a node gives, on one line."""
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
            f"Requests to the catalog must be signed for {region}, but no AWS credentials are available. Log in with `aws "
            f"sso login`, or run on a machine with a role"
        )
    return Urllib3AWSV4SignerAuth(credentials, region, "es")
