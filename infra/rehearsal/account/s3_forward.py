"""Requests of S3 passed on to a real S3 server, signed again: the server does not know the keys of roles.

Belongs here: the request as the server wants it. Does not belong here: the server (s3_server), recording (proxy).
"""

from __future__ import annotations

from collections.abc import Mapping

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.rehearsal.account.recorded_calls import Request
from infra.rehearsal.servers.s3_server import ACCESS, SECRET

_OURS = ("host", "connection", "content-length", "transfer-encoding", "expect", "authorization", "accept-encoding")
_OF_CHUNKS = ("x-amz-trailer", "x-amz-decoded-content-length", "content-encoding")


def signed_again(request: Request, url: str) -> tuple[str, Mapping[str, str], bytes]:
    """Return address, headers and body of a request for the server at an address; requests without signature stay so."""
    headers = {name: value for name, value in request.headers.items() if name not in _OURS}
    body = request.body
    if request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        body = _joined(body)
        headers = {name: value for name, value in headers.items() if name not in _OF_CHUNKS}
    if "authorization" not in request.headers:
        return url + request.path, headers, body
    for name in ("x-amz-date", "x-amz-content-sha256", "x-amz-security-token"):
        headers.pop(name, None)
    again = AWSRequest(method=request.method, url=url + request.path, data=body, headers=headers)
    S3SigV4Auth(Credentials(ACCESS, SECRET), "s3", "us-east-1").add_auth(again)
    return again.url, dict(again.headers.items()), body


def _joined(body: bytes) -> bytes:
    """Return the content of a body that was sent in chunks with signatures or with a checksum at its end."""
    content, rest = b"", body
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.partition(b";")[0] or b"0", 16)
        if not size:
            return content
        content, rest = content + rest[:size], rest[size + 2 :]
