"""Listing of a bucket below a prefix through the S3 API, with concurrent requests for several prefixes.

Belongs here: listing through the S3 API. Does not belong here: inventories (inventory), folders (listing), the meaning
of keys (layouts).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import chain
from typing import Any

from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.topology.mount import Mount
from xdask_pipelines.topology.names import IMPORT_REPORTS

_THREADS = 16
#: Maximum number of keys in an answer of S3.
PAGE_KEYS = 1000
#: Storage classes whose objects must be restored before they can be read.
_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_LONGEST_NAME_BYTES = 255  # of one part of a path on Lustre


def list_bucket(mount: Mount, *, page_keys: int = PAGE_KEYS) -> list[StoredObject]:
    """List all objects of a mount's bucket below its prefix, sorted by key; the mount's path replaces the prefix.

    ETags are those of S3, without quotes; those of uploads in parts end in ``-N``. Times of modification are those of
    S3, in whole seconds. Objects that cannot be files on a mount, or are archived, have a problem.

    Parameters
    ----------
    mount
        The mount. The bucket of its ``source`` must be in its ``region``, where its data are computed.
    page_keys
        Number of keys in each answer.

    Raises
    ------
    CatalogError
        If the bucket is in another Region, does not exist or may not be listed, or an answer is incomplete. An
        incomplete listing must never look like a smaller dataset.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = client_for(mount)
    try:
        _check_region(client, mount)
        with ThreadPoolExecutor(_THREADS) as threads:
            objects = list(chain.from_iterable(_all(client, mount, threads, page_keys)))
    except (BotoCoreError, ClientError) as error:
        raise CatalogError(
            f"{mount.source} in {mount.region} cannot be listed: {' '.join(str(error).split())}; nothing was changed. "
            f"{_advice(error, mount)}"
        ) from error
    reports = f"{mount.prefix}{IMPORT_REPORTS}/"
    return sorted(stored(mount, *item) for item in objects if not item[0].startswith(reports))


def client_for(mount: Mount) -> Any:
    """Return an S3 client in the bucket's Region, with retries and jitter."""
    import boto3.session  # sessions cannot be shared between threads
    from botocore import UNSIGNED
    from botocore.client import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": 8},
        max_pool_connections=_THREADS,
        **({"signature_version": UNSIGNED} if mount.anonymous else {}),
    )
    return boto3.session.Session().client("s3", region_name=mount.region, config=config)


def stored(mount: Mount, key: str, size: int, etag: str, modified: datetime, storage_class: str) -> StoredObject:
    """Convert an S3 object to a `StoredObject`."""
    path = f"{mount.path}/{key.removeprefix(mount.prefix)}"
    problem = _problem(path, storage_class)
    return StoredObject(path, size, etag.strip('"'), round(modified.timestamp()) * 10**9, problem)


def _problem(path: str, storage_class: str) -> str:
    parts = path.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in path:
        return "this key cannot be the path of a file; copy the object to a key without empty parts, . and .."
    if any(len(part.encode()) > _LONGEST_NAME_BYTES for part in parts):
        return (
            f"a part of its key is longer than the {_LONGEST_NAME_BYTES} bytes of a file name; copy it to a shorter key"
        )
    if storage_class in _ARCHIVED:
        return f"it is archived ({storage_class}); restore it, or copy it to another storage class"
    return ""


_Found = tuple[str, int, str, datetime, str]


def _all(client: Any, mount: Mount, threads: ThreadPoolExecutor, page_keys: int) -> Iterator[list[_Found]]:
    """Iterate over objects by prefix. Prefixes are expanded level by level until all threads are busy."""
    prefixes = [mount.prefix]
    while prefixes and len(prefixes) < 2 * _THREADS:
        opened = list(threads.map(lambda prefix: _listed(client, mount, prefix, page_keys, "/"), prefixes))
        yield from (objects for objects, _ in opened)
        prefixes = [below for _, found in opened for below in found]
    for objects, _ in threads.map(lambda prefix: _listed(client, mount, prefix, page_keys, ""), prefixes):
        yield objects


def _listed(client: Any, mount: Mount, prefix: str, page_keys: int, delimiter: str) -> tuple[list[_Found], list[str]]:
    """Return the objects with a prefix and, with a delimiter, the prefixes below it."""
    objects: list[_Found] = []
    below: list[str] = []
    more: dict[str, str] = {}
    while True:
        asked = {"Bucket": mount.bucket, "Prefix": prefix, "MaxKeys": page_keys, **more}
        page: Mapping[str, Any] = client.list_objects_v2(**asked, **({"Delimiter": delimiter} if delimiter else {}))
        contents: Iterable[Mapping[str, Any]] = page.get("Contents", ())
        objects += [
            (o["Key"], o["Size"], o["ETag"], o["LastModified"], o.get("StorageClass", "STANDARD")) for o in contents
        ]
        below += [p["Prefix"] for p in page.get("CommonPrefixes", ())]
        if not page.get("IsTruncated"):
            return objects, below
        token = page.get("NextContinuationToken")
        if not token or token == more.get("ContinuationToken"):
            raise CatalogError(
                f"The listing of {mount.source} ended after {len(objects)} objects of {prefix!r}: S3 reports more objects, "
                "but no token to continue. Nothing was changed. Sync again"
            )
        more = {"ContinuationToken": token}


def _check_region(client: Any, mount: Mount) -> None:
    from botocore.exceptions import ClientError

    try:
        answer = client.head_bucket(Bucket=mount.bucket)
    except ClientError as error:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        lies_in = headers.get("x-amz-bucket-region")
        if not lies_in and _code(error) in ("403", "AccessDenied", "Forbidden"):
            return  # this request may be forbidden although listing is allowed
        if not lies_in:
            raise
    else:
        lies_in = answer.get("BucketRegion")
    if lies_in and lies_in != mount.region:
        raise CatalogError(
            f"s3://{mount.bucket} is in {lies_in}, but regions.yaml has it under {mount.region}, so tasks would run far "
            f"from their data. Move its stanza to {lies_in}"
        )


def _code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _advice(error: Exception, mount: Mount) -> str:
    code = _code(error)
    if code in ("404", "NoSuchBucket"):
        return "Fix `source` in regions.yaml"
    if code in ("403", "AccessDenied", "Forbidden") or type(error).__name__ == "NoCredentialsError":
        open_data = "" if mount.anonymous else ", or write `anonymous: true` for an open-data bucket"
        return f"Give the workers' role s3:ListBucket and s3:GetObject on it{open_data}"
    return "Sync again; retries that S3 asked for have already failed"
