"""Alerts to people.

Belongs here: sending alerts. Does not belong here: the reasons for alerts (sensors).

The URL of a chat service is a secret, because everyone who knows it can post. Messages, logs and tracebacks show only
its host.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from threading import Thread
from typing import Any

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.aws.clients import client
from xdask_pipelines.resources.aws.pool_metrics import metric, publish
from xdask_pipelines.system.safe_text import without_secrets
from xdask_pipelines.topology import Topology

_SECONDS = 20


def send_alert(address: str, subject: str, document: Mapping[str, Any], seconds: float = _SECONDS) -> None:
    """Send one alert.

    Parameters
    ----------
    address
        Topic of SNS (``arn:aws:sns:…``), or a URL that takes ``{"text": subject, …}`` as JSON by POST, as chat services do,
        and answers with a status of 2xx. Redirects are not followed, because they would send the alert elsewhere.
    subject
        One line.
    document
        Details of the alert, as plain JSON.
    seconds
        Timeout in total.

    Raises
    ------
    XdaskError
        If the alert could not be sent.
    """
    problem = [f"no answer within {seconds:g} s"]

    def send() -> None:
        try:
            (_publish if address.startswith("arn:") else _post)(address, subject, document, seconds)
            problem.clear()
        except Exception as error:  # errors of boto3 and of the network
            problem[0] = _reason(error)

    sending = Thread(target=send, name="alert", daemon=True)  # a socket timeout restarts with each byte
    sending.start()
    sending.join(seconds)
    if problem:
        raise XdaskError(
            f"The alert {subject!r} could not be sent to {without_secrets(address)}: {problem[0]}. Correct `alerts` in "
            "regions.yaml, or check the service"
        )


def count_failed_syncs(topology: Topology, number: int) -> None:
    """Count failed syncs in CloudWatch, where an alarm watches them; do nothing outside of AWS.

    Raises
    ------
    AwsError
        The figure could not be published.
    """
    if topology.profile == "aws":
        region = topology.client.region
        publish(client("cloudwatch", region), [metric("FailedSyncs", number, region)])


def _publish(topic: str, subject: str, document: Mapping[str, Any], seconds: float) -> None:
    sns = client("sns", topic.split(":")[3], seconds=seconds / 2)
    body = json.dumps(document, indent=2, ensure_ascii=False)
    sns.publish(TopicArn=topic, Subject=subject[:100], Message=body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, subject: str, document: Mapping[str, Any], seconds: float) -> None:
    content = json.dumps({"text": subject, **document}, ensure_ascii=False).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds).close()  # raises for all but 2xx


def _reason(error: Exception) -> str:
    """Return the reason of an error, without text that may contain the URL."""
    if isinstance(error, urllib.error.HTTPError):
        moved = ", a redirect, which is not followed" if 300 <= error.code < 400 else ""
        return f"the answer has status {error.code}{moved}"
    cause = error.reason if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    if type(error).__module__.startswith("botocore"):  # quotes the topic, which is no secret
        return f"{type(error).__name__}: {error}"
    return type(cause).__name__
