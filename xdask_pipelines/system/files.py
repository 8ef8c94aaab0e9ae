"""Atomic writing of files.

Belongs here: replacing files. Does not belong here: its content, folders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def write_atomically(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Write a file so that readers see either the complete old or the complete new content, even after a power failure.

    Parameters
    ----------
    path
        The file. Its folder is created if missing.
    content
        Text is written as UTF-8.
    mode
        Permissions, independent of the umask; a private key (0o600) is never readable by others. None uses the umask.

    Raises
    ------
    OSError
        If the file cannot be written. The old content stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode or 0o666), "wb") as out:
            if mode is not None:
                os.fchmod(out.fileno(), mode)
            out.write(content.encode() if isinstance(content, str) else content)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_all_or_none(files: Mapping[Path, str]) -> None:
    """Write several files as UTF-8; none is changed unless there is space for all.

    Parameters
    ----------
    files
        Content by path. Missing folders are created; those that are empty after an error are removed.

    Raises
    ------
    OSError
        If a file cannot be written. All old contents stay.
    """
    created: list[Path] = []
    partial: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
            created += missing
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(21, "Is a directory", str(path))
            partial[path] = path.with_name(f".{path.name}.{uuid4().hex}")
            with partial[path].open("xb") as out:
                out.write(content.encode())
                out.flush()
                os.fsync(out.fileno())
        for path, complete in partial.items():
            complete.replace(path)
    except BaseException:
        for each in partial.values():
            each.unlink(missing_ok=True)
        for folder in created:
            with suppress(OSError):  # another process may use it already
                folder.rmdir()
        raise
