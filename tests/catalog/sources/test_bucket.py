"""Listing buckets of a real S3 server: whole or refused, with S3's own ETags; and S3 inventories."""

import gzip
import hashlib
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest
from botocore.retries.standard import ExponentialBackoff

from infra.rehearsal.servers.s3_server import S3Server
from tests.support.proxy import proxied
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects
from xdask_pipelines.catalog.sources.bucket import list_bucket
from xdask_pipelines.catalog.sources.inventory import read_inventory
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.topology.mount import Mount

Make = Callable[[str], str]
REGION = "us-east-1"
#: The server waits for five seconds before it makes an old change of a bucket's policy known; its bucket is made once.
OPEN = "open-data"


def put(s3: S3Server, url: str, keys: dict[str, bytes]) -> None:
    client, name = s3.client(), url.removeprefix("s3://").partition("/")[0]
    for key, content in keys.items():
        client.put_object(Bucket=name, Key=key, Body=content)


def mount_of(source: str, path: str = "era5-pds", **more: Any) -> Mount:
    return Mount(dataset="era5", region=REGION, layout="era5-pds", path=path, source=source, from_bucket=True, **more)


def listed(url: str, path: str = "era5-pds", **options: int) -> list[StoredObject]:
    return list_bucket(mount_of(url, path), **options)


def test_a_listing_is_whole_over_pages_and_prefixes_and_in_order(s3: S3Server, bucket: Make):
    url = bucket("")
    keys = {
        f"{year}/{month:02}/data/{name}.nc": b"x" * month
        for year in (2011, 2012)
        for month in (1, 2, 3)
        for name in "ab"
    }
    put(s3, url, {**keys, "README": b"", "2011-index": b"i"})
    found = listed(url, page_keys=2)
    assert [item.key for item in found] == sorted(f"era5-pds/{key}" for key in [*keys, "README", "2011-index"])
    assert {item.key: item.size_bytes for item in found}["era5-pds/2012/03/data/b.nc"] == 3
    assert found == listed(url), "pages do not matter"
    below = listed(f"{url}/2011/02", "feb")
    assert [item.key for item in below] == ["feb/data/a.nc", "feb/data/b.nc"]
    assert list(PackedObjects.of(found)) == found


def test_etags_are_those_of_s3_and_a_new_content_of_the_same_size_has_another(s3: S3Server, bucket: Make):
    url = bucket("")
    put(s3, url, {"2011/01/data/t.nc": b"one"})
    (before,) = listed(url)
    assert before.etag == hashlib.md5(b"one").hexdigest()
    put(s3, url, {"2011/01/data/t.nc": b"two"})
    (after,) = listed(url)
    assert (after.size_bytes, after.etag) == (3, hashlib.md5(b"two").hexdigest())
    client, name = s3.client(), url.removeprefix("s3://")
    parts = []
    upload = client.create_multipart_upload(Bucket=name, Key="2011/01/data/t.nc")["UploadId"]
    for number, content in ((1, b"p" * 5 * 2**20), (2, b"q")):
        where = {"Bucket": name, "Key": "2011/01/data/t.nc", "UploadId": upload, "PartNumber": number}
        parts.append({"PartNumber": number, "ETag": client.upload_part(**where, Body=content)["ETag"]})
    client.complete_multipart_upload(
        Bucket=name, Key="2011/01/data/t.nc", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    (multipart,) = listed(url)
    assert multipart.etag.endswith("-2")
    assert not multipart.problem


def test_odd_keys_come_as_they_are_and_folders_are_told_from_files(s3: S3Server, bucket: Make):
    url = bucket("")
    odd = ["a b%20c+d.nc", "line\nbreak.nc", "ä/ö.nc", "plain/", ".xdask-imports/task-1/failures.csv"]
    put(s3, url, dict.fromkeys(odd, b""))
    assert {item.key.removeprefix("m/") for item in listed(url, "m")} == set(odd[:4])


def test_keys_that_no_file_can_have_are_told(s3: S3Server, bucket: Make):
    from xdask_pipelines.catalog.sources.bucket import stored

    where, now = mount_of("s3://b/p", "m"), datetime(2026, 1, 2, tzinfo=UTC)
    problems = {
        key: stored(where, f"p/{key}", 1, '"e"', now, kind).problem
        for key, kind in (
            ("x//y", "STANDARD"),
            ("x/../y", "STANDARD"),
            ("n" * 300, "STANDARD"),
            ("ok.nc", "STANDARD_IA"),
            ("cold.nc", "DEEP_ARCHIVE"),
            ("folder/", "STANDARD"),
        )
    }
    assert [key[:8] for key, problem in problems.items() if not problem] == ["ok.nc", "folder/"]
    assert "archived (DEEP_ARCHIVE); restore it" in problems["cold.nc"]
    assert "empty parts" in problems["x//y"]
    assert "255 bytes" in problems["n" * 300]


def test_an_open_bucket_is_listed_without_credentials_and_a_closed_one_is_refused(
    s3: S3Server, bucket: Make, monkeypatch: pytest.MonkeyPatch
):
    url, closed = bucket(OPEN), bucket("")
    put(s3, url, {"2011/01/data/t.nc": b"x"})
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    assert len(list_bucket(mount_of(url, anonymous=True))) == 1
    with pytest.raises(
        CatalogError, match=r"cannot be listed: .*credentials.* write `anonymous: true` for an open-data"
    ):
        listed(url)
    with pytest.raises(CatalogError, match=r"cannot be listed: .* Give the workers' role s3:ListBucket"):
        list_bucket(mount_of(closed, anonymous=True))


def test_a_bucket_that_is_not_there_is_told(bucket: Make):
    bucket("")
    with pytest.raises(CatalogError, match=r"nothing was changed\. Fix `source` in regions.yaml"):
        listed("s3://there-is-no-such-bucket-here")


def test_a_bucket_of_another_region_is_refused(s3: S3Server, bucket: Make, monkeypatch: pytest.MonkeyPatch):
    url = bucket("")

    import xdask_pipelines.catalog.sources.bucket as module

    client = module.client_for(mount_of(url))
    answer = {"BucketRegion": "eu-west-1"}
    client.meta.events.register("after-call.s3.HeadBucket", lambda parsed, **_: parsed.update(answer))
    monkeypatch.setattr(module, "client_for", lambda _: client)
    with pytest.raises(CatalogError, match=r"is in eu-west-1, but regions.yaml has it under us-east-1"):
        listed(url)


def test_answers_that_s3_asks_to_try_again_are_tried_again(s3: S3Server, bucket: Make, monkeypatch: pytest.MonkeyPatch):
    url = bucket("")
    put(s3, url, {f"{i}/x.nc": b"x" for i in range(6)})
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0.01)
    with proxied(s3.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        proxy.fault = lambda method, path, number: 503 if number % 3 == 1 else "lose" if number % 7 == 2 else None
        assert len(listed(url, page_keys=2)) == 6
        proxy.fault = lambda method, path, number: 503 if "prefix=4" in path else None
        with pytest.raises(CatalogError, match=r"cannot be listed: .*503.*nothing was changed. Sync again"):
            listed(url, page_keys=2)


def test_a_listing_that_breaks_off_is_refused(s3: S3Server, bucket: Make, monkeypatch: pytest.MonkeyPatch):
    url = bucket("")
    put(s3, url, {f"{i}/x.nc": b"x" for i in range(3)})

    def truncated(content: bytes) -> bytes:
        return re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", content)

    with proxied(s3.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        proxy.fault = lambda method, path, number: truncated
        with pytest.raises(CatalogError, match=r"ended after .* but no token to continue\. Nothing was changed"):
            listed(url, page_keys=2)


# ---- inventories ------------------------------------------------------------------------------------------------

MODIFIED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ROWS = [
    ("2011/01/data/a b.nc", 10, "e1", "STANDARD"),
    ("2011/02/data/t+u.nc", 20, "e2", "STANDARD"),
    ("2011/03/data/t.nc", 30, "e3", "DEEP_ARCHIVE"),
    ("other/t.nc", 40, "e4", "STANDARD"),
]


def csv_rows() -> tuple[bytes, str]:
    from urllib.parse import quote_plus

    lines = [
        f'"src","{quote_plus(key)}","{size}","2026-03-04T05:06:07.000Z","{etag}","{kind}"'
        for key, size, etag, kind in ROWS
    ]
    return gzip.compress("\n".join(lines).encode()), "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass"


def table() -> pa.Table:
    return pa.table(
        {
            "bucket": ["src"] * len(ROWS),
            "key": [row[0] for row in ROWS],
            "size": [row[1] for row in ROWS],
            "last_modified_date": pa.array([MODIFIED] * len(ROWS), pa.timestamp("ms", "UTC")),
            "e_tag": [row[2] for row in ROWS],
            "storage_class": [row[3] for row in ROWS],
        }
    )


def parquet_rows() -> tuple[bytes, str]:
    file = io.BytesIO()
    pq.write_table(table(), file)
    return file.getvalue(), "message s3.inventory { … }"


def orc_rows() -> tuple[bytes, str]:
    file = io.BytesIO()
    orc.write_table(table(), file)
    return file.getvalue(), "struct<…>"


def deliver(s3: S3Server, url: str, when: str, form: str, content: bytes, schema: str, **changes: str) -> None:
    """What S3 delivers: data, then the manifest, then its checksum."""
    folder = "inv/src/all"
    data = f"{folder}/data/{when}.{form.lower()}"
    manifest = {
        "sourceBucket": "src",
        "creationTimestamp": "1772600000000",
        "fileFormat": form,
        "fileSchema": schema,
        "files": [{"key": data, "size": len(content), "MD5checksum": hashlib.md5(content).hexdigest()}],
        **changes,
    }
    text = json.dumps(manifest).encode()
    sums = hashlib.md5(text).hexdigest().encode()
    put(s3, url, {data: content, f"{folder}/{when}/manifest.json": text, f"{folder}/{when}/manifest.checksum": sums})


@pytest.mark.parametrize(("form", "made"), [("CSV", csv_rows), ("Parquet", parquet_rows), ("ORC", orc_rows)])
def test_an_inventory_says_what_a_listing_would(
    s3: S3Server, bucket: Make, form: str, made: Callable[[], tuple[bytes, str]]
):
    url = bucket("")
    deliver(s3, url, "2026-03-05T01-00Z", form, *made())
    put(s3, url, {"inv/src/all/2026-03-06T01-00Z/manifest.json": b"{}"})  # still being delivered
    objects, taken = read_inventory(mount_of("s3://src/2011", inventory=f"{url}/inv/src/all"))
    assert [(o.key, o.size_bytes, o.etag, o.modified_ns) for o in objects] == [
        (f"era5-pds/{key.removeprefix('2011/')}", size, etag, int(MODIFIED.timestamp()) * 10**9)
        for key, size, etag, _ in ROWS[:3]
    ]
    assert [bool(o.problem) for o in objects] == [False, False, True]
    assert taken == datetime.fromtimestamp(1772600000, UTC)


def test_inventories_that_cannot_be_trusted_are_refused(s3: S3Server, bucket: Make):
    url = bucket("")
    where = mount_of("s3://src", inventory=f"{url}/inv/src/all")
    with pytest.raises(CatalogError, match="has no complete inventory"):
        read_inventory(where)
    content, schema = csv_rows()
    deliver(s3, url, "2026-03-05T01-00Z", "CSV", content, schema, sourceBucket="another")
    with pytest.raises(CatalogError, match="is an inventory of 'another', not of 'src'"):
        read_inventory(where)
    deliver(s3, url, "2026-03-06T01-00Z", "CSV", content, schema.replace("ETag", "Region"))
    with pytest.raises(CatalogError, match="lacks ETag"):
        read_inventory(where)
    deliver(s3, url, "2026-03-07T01-00Z", "CSV", content, schema)
    put(s3, url, {"inv/src/all/data/2026-03-07T01-00Z.csv": content[:-20]})
    with pytest.raises(CatalogError, match="does not match its checksum"):
        read_inventory(where)


def test_bucket_addresses_have_a_name_and_a_prefix(tmp_path: Path):
    below = mount_of("s3://b/p/q/")
    assert (below.bucket, below.prefix) == ("b", "p/q/")
    assert mount_of("s3://b").prefix == ""
