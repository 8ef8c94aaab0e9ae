"""The folder of reports, on this machine or in a bucket: a page for each result, and an index of all.

Belongs here: writing pages so that readers see complete ones only, and the index. Does not belong here: the content of a
page (report_page).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from html import unescape
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from xdask_pipelines.errors import AwsError, XdaskError
from xdask_pipelines.system.files import write_all_or_none
from xdask_pipelines.system.markup import Markup, local_link, table
from xdask_pipelines.system.safe_text import html
from xdask_pipelines.system.web_page import web_page

INDEX = "index.html"
_MARK = "xdask-report"
_HEAD_BYTES = 8192
_MARKED = re.compile(rf'<meta name="{_MARK}" content="([^"]*)">')
#: How often the index is written again because another process added a page meanwhile.
_MOST_ROUNDS = 5


@dataclass(frozen=True)
class Listed:
    """A page in the index."""

    file: str
    title: str
    asset: str
    part: str
    made: str
    figure: str


class Folder(Protocol):
    """A folder on this machine or in a bucket."""

    def address(self, name: str) -> str:
        """Return where a file is, for people."""

    def heads(self) -> dict[str, str]:
        """Return the first 8 kB of every page, by name."""

    def write(self, files: dict[str, str]) -> None:
        """Write files so that readers see each complete; none is new if one cannot be written on this machine."""


class DiskFolder:
    """A folder on this machine, which is created if it does not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def address(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.path / name)

    def heads(self) -> dict[str, str]:
        """Return the first 8 kB of every page, by name."""
        found = {}
        for path in sorted(self.path.glob("*.html")):
            with suppress(FileNotFoundError), path.open("rb") as file:  # one may be removed meanwhile
                found[path.name] = file.read(_HEAD_BYTES).decode("utf-8", "replace")
        return found

    def write(self, files: dict[str, str]) -> None:
        """Write all files, or none: a full disk is noticed before any page is replaced."""
        write_all_or_none({self.path / name: content for name, content in files.items()})


class BucketFolder:
    """A prefix in a bucket; the client's credentials must allow to list, read and write it."""

    def __init__(self, address: str, client: Any) -> None:
        self._bucket, _, prefix = address.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client = client

    def address(self, name: str) -> str:
        """Return the address of an object."""
        return f"s3://{self._bucket}/{self._prefix}{name}"

    def heads(self) -> dict[str, str]:
        """Return the first 8 kB of every page, by name."""
        from xdask_pipelines.resources.aws.clients import call, explained_errors, pages

        where = {"Bucket": self._bucket}
        keys = pages(self._client, "list_objects_v2", "Contents", **where, Prefix=self._prefix, Delimiter="/")
        found = {}
        for key in sorted(str(each["Key"]) for each in keys):
            if key.endswith(".html"):
                answer = call(self._client, "get_object", **where, Key=key, Range=f"bytes=0-{_HEAD_BYTES - 1}")
                with explained_errors(self._client, "get_object"):
                    found[key.removeprefix(self._prefix)] = answer["Body"].read().decode("utf-8", "replace")
        return found

    def write(self, files: dict[str, str]) -> None:
        """Write each file in one request, in this order."""
        from xdask_pipelines.resources.aws.clients import call

        for name, content in files.items():
            call(
                self._client,
                "put_object",
                Bucket=self._bucket,
                Key=f"{self._prefix}{name}",
                Body=content.encode(),
                ContentType="text/html; charset=utf-8",
                CacheControl="no-cache",
            )


def folder_at(address: str, root: Path, s3: Callable[[], Any]) -> Folder:
    """Return the folder at an address.

    Parameters
    ----------
    address
        A folder, or ``s3://bucket/prefix``.
    root
        Folder to which a relative one refers.
    s3
        Returns a client of S3.
    """
    return BucketFolder(address, s3()) if address.startswith("s3://") else DiskFolder(root / address)


def file_name(asset: str, part: str = "") -> str:
    """Return the name of a page: one for each asset, or partition; never that of the index.

    Examples
    --------
    >>> file_name("climate_signal"), file_name("monthly", "2011/01"), file_name("index")
    ('climate_signal.html', 'monthly.2011%2F01.html', 'index-report.html')
    """
    stem = "index-report" if asset == "index" and not part else quote(asset, safe="")
    return f"{stem}.{quote(part, safe='')}.html" if part else f"{stem}.html"


def marked(listed: Listed) -> str:
    """Return the element of a page's head from which the index knows it."""
    return f'<meta name="{_MARK}" content="{html(json.dumps(asdict(listed)))}">'


def published(folder: Folder, listed: Listed, page: str) -> str:
    """Write a page, and the index of all pages in its folder.

    Parameters
    ----------
    folder
        The folder.
    listed
        The page as the index shows it.
    page
        Its HTML, with the element `marked` in its head.

    Returns
    -------
    Address of the page.

    Raises
    ------
    XdaskError
        If the folder cannot be read or written. On this machine no file is changed then.
    """
    try:
        known = _listed(folder)
        known[listed.file] = listed
        folder.write({listed.file: page, INDEX: index_page(known)})
        for _ in range(_MOST_ROUNDS):
            now = _listed(folder)
            if now == known:
                break
            folder.write({INDEX: index_page(known := now)})
    except (OSError, AwsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).rstrip(".")
        raise XdaskError(
            f"The report of {listed.asset} cannot be written to {folder.address(listed.file)}: {reason}. Check that the "
            "folder can be written and that its disk has space, or name another one with `--to FOLDER`."
        ) from error
    return folder.address(listed.file)


def _listed(folder: Folder) -> dict[str, Listed]:
    """Return the pages in a folder that are reports, by file; other pages are left alone."""
    found = {}
    for name, head in folder.heads().items():
        if match := _MARKED.search(head):
            try:
                found[name] = Listed(**{**json.loads(unescape(match[1])), "file": name})
            except (TypeError, ValueError):
                continue  # of another version of this package: its next report replaces it
    return found


def index_page(listed: dict[str, Listed]) -> str:
    """Return the page that links to all reports, the newest first."""
    rows = [
        (
            local_link(quote(each.file), each.title),
            f"{each.asset} {each.part}".strip(),
            each.figure,
            each.made,
        )
        for each in sorted(listed.values(), key=lambda each: (each.made, each.file), reverse=True)
    ]
    body = Markup(f"<h1>Reports</h1>{table(('Result', 'Asset', 'Value', 'Computed (UTC)'), rows)}")
    return web_page("Reports", body)
