"""Atomic writing of files.

Belongs here: replacing one file. Does not belong here: its content, folders.
"""

from __future__ import annotations

import os
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
