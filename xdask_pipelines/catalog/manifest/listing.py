"""Listing of a mount: its objects with digests, in order.

Belongs here: listing, and problems of single objects. Does not belong here: the meaning of paths (layouts), changes
since the last listing (differences).
"""

# Paths are bytes here, because names may not be UTF-8, and pathlib does not support bytes.
# ruff: noqa: PTH114, PTH116, PTH118, PTH123

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xdask_pipelines.errors import CatalogError


@dataclass(frozen=True, slots=True, order=True)
class StoredObject:
    """One object of a mount. ``key`` is its path relative to the Region's root, with ``/``, mount included.

    ``problem`` is the reason why an object cannot be catalogued (its name is not UTF-8, a link leads out of the mount,
    …); such an object is reported, never used.
    """

    key: str
    size_bytes: int
    etag: str
    modified_ns: int
    problem: str = ""


def list_folder(root: str | Path, mount: str, known: Mapping[str, StoredObject]) -> list[StoredObject]:
    """List the objects of the folder ``root/mount``, sorted by key; run this where the folder is mounted.

    The ETag is the blake2b-128 digest of the content in hex, computed again only if size or time of modification differ
    from ``known``. The mount itself may be a link; below it, links to files inside the mount are followed, and all
    other links are reported as problems. A file that disappears meanwhile is left out.

    Raises
    ------
    CatalogError
        If the folder or one inside it does not exist or cannot be read.
    """
    top = Path(root, mount)
    if not top.is_dir():
        raise CatalogError(
            f"The mount {mount} cannot be listed, because the folder {top} does not exist. Nothing was changed. Create or "
            f"mount the folder, or remove the dataset from regions.yaml"
        )
    real_top = os.path.realpath(os.fsencode(top))
    found: list[StoredObject] = []
    folders = [b""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(real_top, folder)) as items:
                for item in items:
                    relative = os.path.join(folder, item.name)
                    if item.is_dir(follow_symlinks=False):
                        folders.append(relative)
                    elif (stored := _object(real_top, relative, item.is_symlink(), mount, known)) is not None:
                        found.append(stored)
        except OSError as error:
            raise CatalogError(
                f"Folder {os.fsdecode(os.path.join(real_top, folder))!r} of mount {mount} cannot be listed: {error}. "
                f"Nothing was changed. Make it readable and sync again"
            ) from error
    return sorted(found)


def _object(
    top: bytes, relative: bytes, is_link: bool, mount: str, known: Mapping[str, StoredObject]
) -> StoredObject | None:
    path = os.path.join(top, relative)
    try:
        key = f"{mount}/{relative.decode('utf-8')}"
    except UnicodeDecodeError:
        shown = relative.decode("utf-8", "backslashreplace")
        return StoredObject(f"{mount}/{shown}", 0, "", 0, "its name is not UTF-8; rename it")
    if is_link and not (os.path.realpath(path) + b"/").startswith(top + b"/"):
        return StoredObject(key, 0, "", 0, "it is a link that leads out of the mount; put the file itself here")
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return StoredObject(key, 0, "", 0, "it is not a file, or a link to a folder; put the files themselves here")
        size, modified = status.st_size, status.st_mtime_ns
        before = known.get(key)
        if before is not None and (before.size_bytes, before.modified_ns) == (size, modified):
            return before
        with open(path, "rb") as file:
            etag = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            after = os.fstat(file.fileno())
    except FileNotFoundError:
        if os.path.islink(path):
            return StoredObject(key, 0, "", 0, "it is a link to nothing; put the file itself here")
        return None
    except OSError as error:
        return StoredObject(key, 0, "", 0, f"it cannot be read ({error.strerror}); fix it and sync again")
    if (after.st_size, after.st_mtime_ns) != (size, modified):
        return StoredObject(key, 0, "", 0, "it was written to while it was read; sync again when it is complete")
    return StoredObject(key, size, etag, modified)
