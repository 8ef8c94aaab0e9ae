"""Clients of AWS: made here alone, and their errors in one sentence each.

Belongs here: retries, errors of all services. Does not belong here: what is asked (ecs_service, scheduler_record).

botocore's own variables count: ``AWS_PROFILE`` and the role of a task for credentials, ``AWS_ENDPOINT_URL`` for an emulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xdask_pipelines.errors import AwsError
from xdask_pipelines.topology.aws_names import PREFIX

#: A sensor has a minute. Without any answer, two calls take 50 s, and at eight attempts took 80 s.
_ATTEMPTS = 4
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 60.0
_DENIED = ("AccessDenied", "UnauthorizedOperation", "NotAuthorized")
_CREDENTIALS = ("ExpiredToken", "InvalidClientTokenId", "UnrecognizedClient", "InvalidAccessKeyId", "SignatureDoesNot")
_ABSENT = ("ClusterNotFound", "ServiceNotFound", "ServiceNotActive", "NoSuchHostedZone", "ResourceNotFound")
_THROTTLED = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "PriorRequestNotComplete", "SlowDown")


def client(service: str, region: str, *, seconds: float | None = None, attempts: int = _ATTEMPTS) -> Any:
    """Return a client of a service of AWS in a Region, with standard retries.

    Parameters
    ----------
    service
        As boto3 names it.
    region
        Region of the endpoint.
    seconds
        Timeout of one attempt, with a single retry, for what is given up soon.
    attempts
        Number of attempts otherwise.
    """
    import boto3.session  # takes a while, and sessions cannot be shared between threads
    from botocore.config import Config

    limits = Config(
        connect_timeout=seconds or _CONNECT_SECONDS,
        read_timeout=seconds or _READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 2 if seconds else attempts},
    )
    return boto3.session.Session().client(service, region_name=region, config=limits)


def call(client: Any, operation: str, **parameters: Any) -> dict[str, Any]:
    """Call an operation, as ``call(ecs, "describe_tasks", cluster=…)``.

    Raises
    ------
    AwsError
        With the Region, the operation, the permission that is lacking, and what to do.
    """
    with explained_errors(client, operation):
        answer: dict[str, Any] = getattr(client, operation)(**parameters)
    return answer


def pages(client: Any, operation: str, key: str, **parameters: Any) -> list[Any]:
    """Call an operation until its last page, and return what all pages list under a key; errors are those of `call`."""
    with explained_errors(client, operation):
        return [each for page in client.get_paginator(operation).paginate(**parameters) for each in page.get(key, ())]


@contextmanager
def explained_errors(client: Any, operation: str) -> Iterator[None]:
    """Turn errors of botocore into `AwsError`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refused(client, operation, error.response.get("Error", {})) from error
    except BotoCoreError as error:
        raise _unanswered(client, operation, error) from error


def _named(client: Any, operation: str) -> str:
    """Return an operation as IAM names it, such as ``ecs:DescribeTasks``."""
    service = client.meta.service_model.service_name
    return f"{service}:{client.meta.method_to_api_mapping.get(operation, operation)}"


def _refused(client: Any, operation: str, error: dict[str, Any]) -> AwsError:
    code, message = str(error.get("Code", "")), str(error.get("Message", "")).strip().rstrip(".")
    region, named = client.meta.region_name, _named(client, operation)

    def is_one_of(kinds: tuple[str, ...]) -> bool:
        return any(kind in code for kind in kinds)

    if is_one_of(_DENIED):
        why = "This process has no permission"
        remedy = f"Allow {named} for its role or user (infra/policies has the roles of this project)"
    elif is_one_of(_CREDENTIALS):
        why = "Its credentials are not valid, or have expired"
        remedy = "Log in again (`aws sso login`), or set AWS_PROFILE"
    elif is_one_of(_ABSENT):
        why = "It does not exist there"
        remedy = f"Deploy the stacks whose names begin with {PREFIX}- (`make infra-deploy`), or correct regions.yaml"
    elif is_one_of(_THROTTLED):
        why = "Too many calls, after several attempts"
        remedy = "Wait a minute, then try again"
    else:
        why, remedy = "", "Read AWS's own message; if it names a service quota, ask for a higher one"
    reason = ": ".join(part for part in (why, f"{code}: {message}" if message else code) if part)
    return AwsError(f"AWS refused {named} in {region}. {reason}. {remedy}.", code=code, operation=named, region=region)


def _unanswered(client: Any, operation: str, error: Exception) -> AwsError:
    kind, region, named = type(error).__name__, client.meta.region_name, _named(client, operation)
    if "Credential" in kind or "Token" in kind or "SSO" in kind or "ProfileNotFound" in kind:
        remedy = "Log in (`aws sso login`), or set AWS_PROFILE; a container on ECS has the role of its task"
    elif "ParamValidation" in kind:
        remedy = "This is a mistake in xdask_pipelines; report it with this message"
    else:
        remedy = "Check that this machine reaches AWS (route, proxy, DNS), then try again"
    text = " ".join(str(error).split()).rstrip(".")
    message = f"{named} in {region} was not sent, or not answered. {text}. {remedy}."
    return AwsError(message, code=kind, operation=named, region=region)
