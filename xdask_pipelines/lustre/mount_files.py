"""The files of a mount, which are accessed on a worker of the Region.

Belongs here: operations on the files of a mount. Does not belong here: running them on workers (access), the ioctls of
Lustre (hsm), AWS (fsx).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.lustre.hsm import is_released, request_restore
from xdask_pipelines.lustre.imports import Residency
from xdask_pipelines.topology.names import is_plain_key


class MountFiles(Protocol):
    """Remote access to the mounts of Regions. ``keys`` are files, stores or folders."""

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """Return which of these are on the mount, and which are only in the bucket."""
        ...

    def restore(self, region: str, keys: Sequence[str]) -> None:
        """Ask Lustre to fetch these in the background."""
        ...

    def unlink(self, region: str, keys: Sequence[str]) -> int:
        """Remove these files and folders that become empty; return the number of files."""
        ...


def files_below(path: Path) -> Iterator[os.DirEntry[str] | Path]:
    """Iterate over a file, or over all files below a folder; nothing if it does not exist."""
    if path.is_file():
        yield path
    elif path.is_dir():
        folders = [os.fspath(path)]
        while folders:
            with os.scandir(folders.pop()) as items:
                for item in items:
                    if item.is_dir(follow_symlinks=False):
                        folders.append(item.path)
                    elif item.is_file():
                        yield item


def residency_of_folder(paths: Sequence[Path]) -> Residency:
    """Return the state of files in a plain folder: all of them are present."""
    sizes = [item.stat().st_size for path in paths for item in files_below(path)]
    return Residency(len(sizes), sum(sizes))


def residency_on_lustre(paths: Sequence[Path]) -> Residency:
    """Return files and bytes on the mount, and released ones, which are fetched when they are read.

    Raises
    ------
    XdaskError
        A file is not on Lustre.
    """
    total = Residency()
    for path in _all_files(paths):
        size = path.stat().st_size
        total += Residency(0, 0, 1, size) if is_released(path) else Residency(1, size)
    return total


def restore_on_lustre(paths: Sequence[Path]) -> None:
    """Ask Lustre to fetch files that are released.

    Raises
    ------
    XdaskError
        A file is not on Lustre, or Lustre refuses.
    """
    request_restore([path for path in _all_files(paths) if is_released(path)])


def _all_files(paths: Sequence[Path]) -> Iterator[Path]:
    return (Path(item) for path in paths for item in files_below(path))


def unlink_below(root: Path, keys: Sequence[str]) -> int:
    """Remove files below a folder, and folders that become empty; return the number of files.

    Raises
    ------
    XdaskError
        If a key does not stay below the folder. Nothing is removed then.
    """
    if strange := [key for key in keys if not is_plain_key(key)]:
        raise XdaskError(
            f"The key {strange[0]!r} is not a plain path below {root}, so nothing was removed. Correct the key, then "
            "sync again."
        )
    removed = 0
    for key in keys:
        path = root / key
        try:
            path.unlink()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            continue
        removed += 1
        for folder in path.parents:
            if folder == root or any(folder.iterdir()):
                break
            folder.rmdir()
    return removed
