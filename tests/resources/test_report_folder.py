"""Reports are written whole or not at all, on a disk and in a bucket, and the index has all of them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.rehearsal.servers.s3_server import S3Server
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.aws.clients import client
from xdask_pipelines.resources.reporting.report_folder import (
    INDEX,
    BucketFolder,
    DiskFolder,
    Folder,
    Listed,
    file_name,
    index_page,
    marked,
    published,
)
from xdask_pipelines.system.markup import Markup
from xdask_pipelines.system.web_page import web_page

HOSTILE = """<script>alert("x")</script> & 'a' "b" → ${jndi}"""


def listed(asset: str, made: str = "2026-03-01 12:00", part: str = "", title: str = "A title") -> Listed:
    return Listed(file_name(asset, part), title, asset, part, made, "3.40 K")


def page(of: Listed) -> str:
    return web_page(of.title, Markup("<p>content</p>"), marked(of))


def test_a_page_and_the_index_are_written_and_the_newest_is_first(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path / "new" / "folder")
    (tmp_path / "new/folder").mkdir(parents=True)
    (tmp_path / "new/folder/mine.html").write_text("<html>not a report</html>")
    for each in (listed("old", "2026-01-01 00:00"), listed("index"), listed("monthly", part="2011/01", title=HOSTILE)):
        address = published(folder, each, page(each))
        assert Path(address).read_text() == page(each)
    index = (tmp_path / "new/folder" / INDEX).read_text()
    links = re.findall(r'href="([^"]*)"', index)
    assert sorted(links[:2]) == ["index-report.html", "monthly.2011%252F01.html"]
    assert links[2:] == ["old.html"]
    assert "<script>" not in index
    assert "mine.html" not in index
    assert "&lt;script&gt;" in index
    assert {p.name for p in (tmp_path / "new/folder").iterdir()} == {
        "mine.html", "old.html", "index-report.html", "monthly.2011%2F01.html", INDEX,
    }  # fmt: skip


def test_a_page_is_replaced_and_listed_once(tmp_path: Path) -> None:
    folder = DiskFolder(tmp_path)
    for title in ("earlier", "later"):
        published(folder, listed("one", title=title), page(listed("one", title=title)))
    index = (tmp_path / INDEX).read_text()
    assert index.count("one.html") == 1
    assert "later" in index
    assert "earlier" not in index


def test_a_full_disk_leaves_the_old_page_the_old_index_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DiskFolder(tmp_path)
    published(folder, listed("one"), page(listed("one")))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:  # the index, after the page
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    new = listed("one", title="another")
    with pytest.raises(XdaskError, match=r"one cannot be written to .*one\.html: No space left on device\. Check"):
        published(folder, new, page(new))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_created_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(XdaskError, match=r"cannot be written to .*: Not a directory\. Check that the folder"):
        published(DiskFolder(tmp_path / "file" / "below"), listed("one"), "page")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(XdaskError, match="No space left"):
        published(DiskFolder(tmp_path / "a" / "b"), listed("one"), "page")
    assert not (tmp_path / "a").exists()


def test_an_index_that_another_process_wrote_meanwhile_is_completed(tmp_path: Path) -> None:
    class Slow(DiskFolder):
        done = False

        def write(self, files: dict[str, str]) -> None:
            if not self.done:
                self.done = True
                published(DiskFolder(tmp_path), listed("theirs"), page(listed("theirs")))
            super().write(files)

    published(Slow(tmp_path), listed("ours"), page(listed("ours")))
    index = (tmp_path / INDEX).read_text()
    assert "ours.html" in index
    assert "theirs.html" in index


@pytest.mark.parametrize("prefix", ["", "/", "/web site/reports", "/reports/"])
def test_a_bucket_is_such_a_folder(bucket: Callable[[str], str], s3: S3Server, prefix: str) -> None:
    address = bucket("") + prefix
    folder: Folder = BucketFolder(address, client("s3", "us-east-1"))
    for each in (listed("one"), listed("two", title="Second → page")):
        written = published(folder, each, page(each))
        assert written.startswith("s3://")
    name = address.removeprefix("s3://").split("/")[0]
    keys = {o["Key"] for o in s3.client().list_objects_v2(Bucket=name)["Contents"]}
    inside = prefix.strip("/")
    assert keys == {f"{inside}/{n}".lstrip("/") for n in ("one.html", "two.html", INDEX)}
    for key in keys:
        answer = s3.client().get_object(Bucket=name, Key=key)
        assert answer["ContentType"] == "text/html; charset=utf-8"
        body = answer["Body"].read().decode()
        if key.endswith(INDEX):
            assert body == index_page(
                {each.file: each for each in (listed("one"), listed("two", title="Second → page"))}
            )


def test_a_bucket_that_does_not_exist_is_one_clear_error(s3: S3Server, bucket: Callable[[str], str]) -> None:
    folder = BucketFolder("s3://no-such-bucket-here/x", client("s3", "us-east-1"))
    with pytest.raises(XdaskError, match=r"s3://no-such-bucket-here/x/one\.html: AWS refused s3:ListObjectsV2"):
        published(folder, listed("one"), page(listed("one")))
