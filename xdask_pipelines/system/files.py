"""Files that are whole whenever somebody reads them.

Belongs here: how one file is replaced. Does not belong here: what is in it, folders.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def write_atomically(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Write a file such that who reads it finds the old content or the new one, whole, after a power cut too.

    Parameters
    ----------
    path
        The file. Its folder is made if it is not there.
    content
        Text is written as UTF-8.
    mode
        Permissions, whatever the umask says; a key (0o600) is at no moment open to others. None: as the umask says.

    Raises
    ------
    OSError
        The file cannot be written; what was there before stays.
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
