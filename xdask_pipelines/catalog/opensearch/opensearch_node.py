"""One OpenSearch node or domain: requests that are tried again, and its errors in words.

Belongs here: connections and what can go wrong with them. Does not belong here: where it is and as whom it is asked
(opensearch_address), any meaning of its documents.
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
#: What a node answers while it is overloaded or restarts: it may answer the same request later.
PASSING = frozenset({429, 502, 503, 504})
#: How long requests are tried again: where no node has answered yet, as a wrong address should be reported soon; and where
#: one has, or says that it is busy, for it may be restarting, which takes a laptop 10 s and a loaded domain a minute.
FIRST_PATIENCE_SECONDS = 0.5
PATIENCE_SECONDS = 180.0
_FIRST_WAIT_SECONDS = 0.1
#: Of one request or answer, unless a single document is larger. Small instances of AWS domains take 10 MiB, a node takes
#: 100 MB, and holds each request several times in a heap that may be 1 GB.
MAX_BODY_BYTES = 8_000_000


class Node:
    """Requests to one node, from any thread and process; nothing is asked before it is needed."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._client: OpenSearch | None = None
        self._process = 0
        self._has_answered = self._gave_up = False

    def __reduce__(self) -> tuple[type[Node], tuple[Address]]:
        return Node, (self.address,)

    def ask(self, request: Callable[[OpenSearch], T]) -> T:
        """Send a request, and again for a while where the answer is that of a node that is busy or restarts.

        Parameters
        ----------
        request
            Gets the client; must do no harm if it is sent twice, for an answer may be lost.

        Raises
        ------
        LostIndex
            An index or a document is not there.
        CatalogError
            The node does not answer or refuses.
        Conflict
            Another writer was faster.
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
                    self._client = None  # the files of certificates may be others by the next request
                if not _passes(error):
                    raise CatalogError(self._in_words(error, time.monotonic() - began)) from error
                if time.monotonic() - began > patience:
                    self._gave_up = True  # what follows, such as aborting a commit, need not wait as long
                    raise CatalogError(self._in_words(error, time.monotonic() - began)) from error
                pause(tries)
                tries += 1
            else:
                self._has_answered, self._gave_up = True, False
                return answer

    def _answer_of(self, request: Callable[[OpenSearch], T]) -> T:
        """What a request makes of its answer; an answer that it cannot read is not the node's."""
        client = self._connected()
        try:
            return request(client)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GarbledAnswer(f"JSON without what was asked for ({type(error).__name__}: {error})") from error

    def _connected(self) -> OpenSearch:
        with self._lock:
            if self._client is None or self._process != os.getpid():  # a fork shares no connection
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
                logging.getLogger("opensearch").setLevel(logging.CRITICAL)  # what fails is told by us, or tried again
                self._process = os.getpid()
            return self._client

    def _in_words(self, error: OpenSearchException, seconds: float) -> str:
        if refusal := _refusal(error):
            return _tls_in_words(self.address, refusal)
        if isinstance(error, NoConnection):
            return (
                f"The catalog at {self.address} does not answer ({error.error}), after {seconds:.0f} s of retries. Is it "
                f"running, and does the network let this machine reach it? On this machine `xdask opensearch up` starts a "
                f"node and prints its address, for `catalog:` in regions.yaml"
            )
        if isinstance(error, GarbledAnswer):
            return (
                f"The catalog at {self.address} gives an answer that is not OpenSearch's: {error}. A proxy or another "
                f"service answers in its place, or cuts answers short. Look at what `{self.address.curl}` gives; "
                f"correct `catalog:` in regions.yaml or that proxy, then try again"
            )
        if isinstance(error, PartialAnswer):
            return (
                f"The catalog at {self.address} does not answer whole, after {seconds:.0f} s of retries: {error}. Look at "
                f"`{self.address.curl}/_cluster/health`: wait while it is red, or restore the index from a snapshot"
            )
        if isinstance(error, TransportError) and error.status_code == 413:
            return (
                f"The catalog at {self.address} takes no request of this size (HTTP status 413). Requests have at most "
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
    """An index or a document that is asked for is not there."""


class Conflict(Exception):
    """Another writer changed the same document first."""


def pause(i: int, first: float | None = None) -> None:
    """Wait before the ``i``-th further try: twice as long each time, and never as long as others do."""
    time.sleep(min(5.0, (first or _FIRST_WAIT_SECONDS) * 2**i) * random.uniform(0.5, 1.5))


def _refusal(error: OpenSearchException) -> ssl.SSLError | None:
    """What is wrong with TLS between a node and this process, other than that the node ended amid a handshake."""
    info: Any = error.info if isinstance(error, SSLError) else None
    cause = next(iter(getattr(info, "args", ())), None)
    ended = isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    return cause if isinstance(cause, ssl.SSLError) and not ended else None


def _tls_in_words(at: Address, error: ssl.SSLError) -> str:
    ours = "`xdask opensearch up` prints the address of its node"
    expired = (
        "If it has expired, renew it as it was made: `xdask opensearch up`, or `xdask certs` and a restart of the node."
    )
    if isinstance(error, ssl.SSLCertVerificationError):
        shows = f"The catalog at {at} shows a certificate that nothing here trusts ({error.verify_message})."
        if at.certs is None:
            return (
                f"{shows} Name its authority with ?ca=FILE, or with ?certs=FOLDER if it wants a certificate too: {ours}"
            )
        return f"{shows} {expired} Otherwise another node than that of {at.certs} is at this address: {ours}"
    if "ALERT" not in (error.reason or ""):
        return f"The catalog at {at} does not speak TLS ({error.reason}). If it is on this machine, write opensearch+http://"
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
