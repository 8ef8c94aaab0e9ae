"""Rules for addresses in the topology file: buckets, DOIs, folders of reports, receivers of alerts.

Belongs here: what such a text may be. Does not belong here: which keys hold one (stanzas).
"""

from __future__ import annotations

import re

from xdask_pipelines.system.safe_text import without_secrets


def s3_url(url: str) -> str:
    """Check the address of a bucket, or of a folder in it."""
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s]*)?", url):
        raise ValueError(f"{url!r} is not an S3 address; write s3://bucket or s3://bucket/prefix, or leave it out")
    return url


def doi_text(text: str) -> str:
    """Check a DOI without the address of its resolver."""
    if not re.fullmatch(r"10\.\d{4,9}/[^\s]+", text):
        raise ValueError(f"{text!r} is not a DOI; write one such as 10.24381/cds.adbb2d47, without https://doi.org/")
    return text


def report_folder(address: str) -> str:
    """Check where reports are written: a folder, or an address of S3."""
    return s3_url(address) if address.startswith("s3://") else _relative_folder(address)


def _relative_folder(path: str) -> str:
    if not path or "\0" in path:
        raise ValueError(f"{path!r} is not a folder; write one such as var/reports, or s3://bucket/prefix")
    return path


def alert_url(address: str) -> str:
    """Check where alerts go: a topic of SNS, or a URL that takes a JSON document by POST."""
    if not re.fullmatch(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+|https?://[^\s]+", address):
        raise ValueError(f"{without_secrets(address)!r} is neither arn:aws:sns:REGION:ACCOUNT:TOPIC nor https://…")
    return address
