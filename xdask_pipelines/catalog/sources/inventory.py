"""Listing of a bucket from its S3 Inventory, for buckets that are too large to list every night.

Belongs here: finding the newest complete inventory, and reading it. Does not belong here: listing (bucket).

Format: "Amazon S3 Inventory", Amazon S3 User Guide: a dated folder with ``manifest.json``, which lists data files (CSV,
ORC or Parquet) with their MD5 sums, and ``manifest.checksum``, which is delivered last.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.catalog.sources.bucket import client_for, stored
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.topology.mount import Mount

#: Names of columns in CSV manifests, and in Parquet and ORC files.
_COLUMNS = {"Key": "key", "Size": "size", "LastModifiedDate": "last_modified_date", "ETag": "e_tag"}
_OPTIONAL = {"StorageClass": "storage_class", "IsLatest": "is_latest", "IsDeleteMarker": "is_delete_marker"}
_DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\dZ")


def read_inventory(mount: Mount) -> tuple[list[StoredObject], datetime]:
    """Read the objects of a mount's bucket below its prefix, as `list_bucket` does, and the time of the inventory.

    Parameters
    ----------
    mount
        The mount. Its ``inventory`` is the folder with the dated folders:
        ``s3://destination/prefix/bucket/configuration``.

    Raises
    ------
    CatalogError
        If there is no complete inventory, it is of another bucket, a column is missing, or a file is corrupt.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = client_for(mount)
    name, _, folder = mount.inventory.removeprefix("s3://").partition("/")
    folder = folder.rstrip("/") + "/"
    try:
        manifest = _newest_manifest(client, mount, name, folder)
        objects = [item for file in manifest["files"] for item in _objects(client, mount, name, manifest, file)]
    except (BotoCoreError, ClientError) as error:
        raise CatalogError(f"The inventory {mount.inventory} cannot be read: {error}. Nothing was changed") from error
    taken = datetime.fromtimestamp(int(manifest["creationTimestamp"]) / 1000, UTC)
    return sorted(objects), taken


def _newest_manifest(client: Any, mount: Mount, name: str, folder: str) -> dict[str, Any]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=folder)
    keys = {item["Key"] for page in pages for item in page.get("Contents", ())}
    dated = sorted({key[len(folder) :].partition("/")[0] for key in keys}, reverse=True)
    whole = [
        d for d in dated if _DATED.fullmatch(d) and {f"{folder}{d}/manifest.{e}" for e in ("json", "checksum")} <= keys
    ]
    if not whole:
        raise CatalogError(
            f"{mount.inventory} has no complete inventory: no dated folder with manifest.json and manifest.checksum. "
            f"Nothing was changed. Set `inventory` to the folder with the dated folders, or wait for the first delivery"
        )
    content = _content(client, name, f"{folder}{whole[0]}/manifest.json")
    checksum = _content(client, name, f"{folder}{whole[0]}/manifest.checksum").decode("ascii", "replace").strip()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != checksum:
        raise _damaged(mount, f"{whole[0]}/manifest.json")
    manifest: dict[str, Any] = json.loads(content)
    if manifest.get("sourceBucket") != mount.bucket:
        raise CatalogError(
            f"{mount.inventory} is an inventory of {manifest.get('sourceBucket')!r}, not of {mount.bucket!r}; nothing was "
            "changed. Fix `inventory` in regions.yaml"
        )
    return manifest


def _objects(
    client: Any, mount: Mount, name: str, manifest: dict[str, Any], file: dict[str, Any]
) -> Iterator[StoredObject]:
    content = _content(client, name, file["key"])
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != file["MD5checksum"]:
        raise _damaged(mount, file["key"])
    table = _table(mount, manifest, content)
    missing = [names[0] for names in _COLUMNS.items() if names[1] not in table.column_names]
    if missing:
        raise CatalogError(
            f"{mount.inventory} lacks {', '.join(missing)}; nothing was changed. Add it to the inventory's fields"
        )
    encoded = manifest["fileFormat"] == "CSV"  # keys are URL-encoded only in CSV
    for row in table.to_pylist():
        key = unquote_plus(row["key"]) if encoded else row["key"]
        stale = str(row.get("is_latest", True)).lower() == "false"
        gone = str(row.get("is_delete_marker") or False).lower() == "true"
        if stale or gone or not key.startswith(mount.prefix):
            continue
        modified = row["last_modified_date"]
        if isinstance(modified, str):
            modified = datetime.fromisoformat(modified.replace("Z", "+00:00"))
        modified = modified if modified.tzinfo else modified.replace(tzinfo=UTC)
        yield stored(mount, key, int(row["size"]), row["e_tag"], modified, row.get("storage_class") or "STANDARD")


def _table(mount: Mount, manifest: dict[str, Any], content: bytes) -> Any:
    import pyarrow as pa

    form = manifest["fileFormat"]
    if form == "Parquet":
        import pyarrow.parquet as pq

        return pq.read_table(io.BytesIO(content))
    if form == "ORC":
        import pyarrow.orc as orc

        return orc.read_table(io.BytesIO(content))
    if form != "CSV":
        raise CatalogError(f"{mount.inventory} is in {form!r}; nothing was changed. Choose CSV, ORC or Parquet for it")
    import pyarrow.csv as csv

    known = {**_COLUMNS, **_OPTIONAL}
    columns = [known.get(column, column) for column in manifest["fileSchema"].split(", ")]
    text = gzip.decompress(content)
    if not text:
        return pa.table({column: pa.array([], pa.string()) for column in columns})
    return csv.read_csv(
        io.BytesIO(text),
        read_options=csv.ReadOptions(column_names=columns),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )


def _content(client: Any, bucket: str, key: str) -> bytes:
    content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def _damaged(mount: Mount, key: str) -> CatalogError:
    return CatalogError(
        f"{key} of the inventory {mount.inventory} does not match its checksum. Nothing was changed. Wait for the next "
        "delivery"
    )
