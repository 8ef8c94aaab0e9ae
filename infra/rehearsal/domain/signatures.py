"""Signatures of requests (SigV4), checked by signing again with the secret that the rehearsal gave to the role.

Belongs here: whether a request was signed by a role, in the words of AWS. Does not belong here: whether the role may do what
it asks (search_domain).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hmac import compare_digest

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.rehearsal.account.clients import end_of_session, secret_key
from infra.rehearsal.account.recorded_calls import Request

#: How far the clock of a caller may be from that of the service.
_SKEW = timedelta(minutes=5)
_TIME = "%Y%m%dT%H%M%SZ"
_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,\s]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_INVALID = "The security token included in the request is invalid."
_DIFFERENT = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)


class NotSigned(Exception):
    """A request whose signature a service refuses, in the words of the service."""


def signer_of(request: Request, roles: Mapping[str, str], service: str, region: str, now: datetime) -> str:
    """Return the role that signed a request; empty without a signature.

    Parameters
    ----------
    request
        Sent by HTTPS, with the header ``host``.
    roles
        Roles by access key id.
    service, region
        For which the request has to be signed.
    now
        Time of the service.

    Raises
    ------
    NotSigned
        The signature is wrong, too old, of an unknown key, of a session that has ended, or for another service or Region.
    """
    given = request.headers.get("authorization", "")
    if not given:
        return ""
    hit, date = _HEADER.fullmatch(given), request.headers.get("x-amz-date", "")
    if hit is None or not date:
        raise NotSigned("Authorization header requires 'Credential', 'SignedHeaders', 'Signature' and 'X-Amz-Date'.")
    if (hit["service"], hit["region"]) != (service, region):
        raise NotSigned(f"Credential should be scoped to a valid region and correct service: '{service}'.")
    role = roles.get(hit["key"])
    if role is None:
        raise NotSigned(_INVALID)
    _refuse_old(date, hit["day"], now)
    until = end_of_session(role, request.headers.get("x-amz-security-token", ""))
    if until is None:
        raise NotSigned(_INVALID)
    if until <= now:
        raise NotSigned("The security token included in the request is expired")
    names = hit["headers"].split(";")
    if not {"host", "x-amz-date"} <= set(names):
        raise NotSigned("'Host' and 'X-Amz-Date' must be 'SignedHeaders' in the AWS Authorization.")
    expected = signature(request, secret_key(role), names, service, region)
    if not compare_digest(expected, hit["signature"]):
        raise NotSigned(_DIFFERENT)
    return role


def signature(request: Request, secret: str, names: list[str], service: str, region: str) -> str:
    """Return the signature that a secret key gives a request with some signed headers."""
    signed = {name: request.headers.get(name, "") for name in names if name != "host"}
    url = f"https://{request.headers['host']}{request.path}"
    again = AWSRequest(request.method, url, signed, request.body)
    again.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(Credentials("", secret), service, region)
    if "x-amz-content-sha256" in signed and signed["x-amz-content-sha256"] != signer.payload(again):
        return ""  # the body is not the one that was signed
    found: str = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    return found


def _refuse_old(date: str, day: str, now: datetime) -> None:
    try:
        at = datetime.strptime(date, _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise NotSigned(f"Date must be in ISO-8601 'basic format'. Got '{date}'.") from None
    if not date.startswith(day):
        raise NotSigned(f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: '{date}'.")
    if abs(now - at) > _SKEW:
        relation, bound, sign = ("earlier", now - _SKEW, "-") if at < now else ("later", now + _SKEW, "+")
        raise NotSigned(
            f"Signature {'expired' if at < now else 'not yet current'}: {date} is now {relation} than "
            f"{bound.strftime(_TIME)} ({now.strftime(_TIME)} {sign} 5 min.)"
        )
