"""The state of files on Lustre, and requests to fetch them from their bucket, by the ioctls of its client.

Belongs here: numbers and structures of the ioctls. Does not belong here: which files (mount_files).

`lustre_user.h` of Lustre 2.10 and newer: ``struct hsm_user_state``, ``struct hsm_user_request``, ``struct lu_fid``. They are
what the command ``lfs`` uses, which Debian does not package.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xdask_pipelines.errors import XdaskError

_WRITE, _READ = 1, 2


def _number(direction: int, code: int, size: int) -> int:
    """Return the number of an ioctl of type ``f``, as ``_IOR`` and ``_IOW`` of C do on x86 and Arm."""
    return direction << 30 | size << 16 | ord("f") << 8 | code


#: states, archive, state and action in progress, offset and length in progress.
STATE = struct.Struct("=4I2Q")
#: Sequence, object, version.
FID = struct.Struct("=Q2I")
#: Action, archive, flags, number of items, length of further data; then for each item its FID, offset and length.
REQUEST, ITEM = struct.Struct("=2IQ2I"), struct.Struct("=Q2I2Q")
PATH2FID = _number(_READ, 173, struct.calcsize("=Q"))  # declared as a long, though a FID is returned
STATE_GET = _number(_READ, 211, STATE.size)
HSM_REQUEST = _number(_WRITE, 217, REQUEST.size)
#: The client refuses a request of a third of 5 kB or more.
FILES_A_REQUEST = 50
_RELEASED = 0x4  # exists 0x1, dirty 0x2, archived 0x8
_RESTORE = 11
_WHOLE_FILE = (0, 2**64 - 1)
_FOREIGN = (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP)


def is_released(path: Path) -> bool:
    """Return whether the content of a file is only in the bucket.

    Raises
    ------
    XdaskError
        The file is not on Lustre, or cannot be opened.
    """
    state = bytearray(STATE.size)
    with _opened(path) as file:
        fcntl.ioctl(file, STATE_GET, state)
    return bool(STATE.unpack(state)[0] & _RELEASED)


def request_restore(paths: Sequence[Path]) -> None:
    """Ask Lustre to fetch the content of released files of one file system, in the background.

    Raises
    ------
    XdaskError
        A file is not on Lustre, or Lustre refuses.
    """
    for i in range(0, len(paths), FILES_A_REQUEST):
        some = paths[i : i + FILES_A_REQUEST]
        request = bytearray(REQUEST.pack(_RESTORE, 0, 0, len(some), 0))
        for path in some:
            request += ITEM.pack(*_fid(path), *_WHOLE_FILE)
        with _opened(some[0].parent) as folder:  # a file does not take requests
            fcntl.ioctl(folder, HSM_REQUEST, request)


def _fid(path: Path) -> tuple[int, int, int]:
    found = bytearray(FID.size)
    with _opened(path) as file:
        fcntl.ioctl(file, PATH2FID, found)
    sequence, number, version = FID.unpack(found)
    return sequence, number, version


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file without fetching its content, and report what Lustre refuses."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield file
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in _FOREIGN:
            raise XdaskError(
                f"{path} is not on Lustre, so the state of its content is unknown. Check the mount: `df {path}`."
            ) from error
        raise XdaskError(
            f"Lustre does not report or change the state of {path}: {error.strerror}. Check that this user may read it, "
            "and the log of the Lustre client."
        ) from error
