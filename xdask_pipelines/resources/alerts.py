"""Alerts: telling people that something needs them.

Belongs here: sending. Does not belong here: what is worth an alert (sensors).
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from xdask_pipelines.errors import XdaskError

_SECONDS = 20


def send_alert(address: str, subject: str, document: Mapping[str, Any]) -> None:
    """Send one alert.

    Parameters
    ----------
    address
        Topic of SNS (``arn:aws:sns:…``), or a URL that takes ``{"text": subject, …}`` as JSON by POST, as chat services do.
    subject
        One line.
    document
        What there is to know; plain JSON.

    Raises
    ------
    XdaskError
        It could not be sent.
    """
    try:
        if address.startswith("arn:"):
            import boto3

            body = json.dumps(document, indent=2, ensure_ascii=False)
            boto3.session.Session().client("sns", region_name=address.split(":")[3]).publish(
                TopicArn=address, Subject=subject[:100], Message=body
            )
            return
        content = json.dumps({"text": subject, **document}, ensure_ascii=False).encode()
        request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=_SECONDS).close()
    except Exception as error:  # of boto3's many kinds, and of the network
        raise XdaskError(
            f"The alert {subject!r} could not be sent to {address}: {error}. Mend `alerts` in regions.yaml"
        ) from error
