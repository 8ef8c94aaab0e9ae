"""Stands in for Lustre's client on a folder: it takes the ioctls of HSM as C lays them out, and refuses all others.

A file is released while a mark with the number of its inode lies in ``LUSTRE_RELEASED``. A file that was asked for comes
after it was looked at twice more, as fetching takes time.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

#: As `gcc` prints them for the structures and macros of Lustre's `lustre_user.h`.
PATH2FID, STATE_GET, HSM_REQUEST = 0x800866AD, 0x802066D3, 0x401866D9
SIZES = {"hsm_user_state": 32, "hsm_user_request": 24, "hsm_user_item": 32, "lu_fid": 16}
#: MDS_MAXREQSIZE / 3
LARGEST_REQUEST = 5 * 1024 // 3
_SEQUENCE = 0x200000401
_kernel = fcntl.ioctl


class LuFid(ctypes.Structure):
    _fields_ = (("f_seq", ctypes.c_uint64), ("f_oid", ctypes.c_uint32), ("f_ver", ctypes.c_uint32))


class HsmExtent(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class HsmUserState(ctypes.Structure):
    _fields_ = (
        ("states", ctypes.c_uint32),
        ("archive_id", ctypes.c_uint32),
        ("in_progress_state", ctypes.c_uint32),
        ("in_progress_action", ctypes.c_uint32),
        ("in_progress_location", HsmExtent),
    )


class HsmRequest(ctypes.Structure):
    _fields_ = (
        ("action", ctypes.c_uint32),
        ("archive_id", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("itemcount", ctypes.c_uint32),
        ("data_len", ctypes.c_uint32),
    )


class HsmUserItem(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("fid", LuFid), ("extent", HsmExtent))


def mark(path: str) -> Path:
    """Return the mark of a file."""
    return _mark(Path(path).stat().st_ino)


def _mark(inode: int) -> Path:
    return Path(os.environ["LUSTRE_RELEASED"], str(inode))


def receive(file: int, request: int, argument: Any = 0, mutate_flag: bool = True) -> int:
    """Answer one ioctl as the client of Lustre does; the kernel answers those of other drivers."""
    if request >> 8 & 0xFF != ord("f"):
        return _kernel(file, request, argument, mutate_flag)
    found = os.fstat(file)
    folder = stat.S_ISDIR(found.st_mode)
    if not isinstance(argument, bytearray) or not mutate_flag:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    if request == STATE_GET and not folder:
        _fill(argument, HsmUserState(0xD if _looked_at(found.st_ino) else 0x9, 1))
    elif request == PATH2FID:
        _fill(argument, LuFid(_SEQUENCE, found.st_ino))
    elif request == HSM_REQUEST and folder:
        _restore(bytes(argument))
    else:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
    return 0


def _fill(buffer: bytearray, answer: ctypes.Structure) -> None:
    assert len(buffer) == ctypes.sizeof(answer), "the kernel would write beyond the buffer, or not fill it"
    buffer[:] = bytes(answer)


def _looked_at(inode: int) -> bool:
    left = _mark(inode)
    if not left.exists():
        return False
    looks = left.read_text()
    if looks == "1":
        left.unlink()
    elif looks:
        left.write_text(str(int(looks) - 1))
    return True


def _restore(data: bytes) -> None:
    if len(data) >= LARGEST_REQUEST:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    header = HsmRequest.from_buffer_copy(data)
    size = ctypes.sizeof(HsmUserItem)
    assert (header.action, header.archive_id, header.flags, header.data_len) == (11, 0, 0, 0), "a restore, and no more"
    assert len(data) == ctypes.sizeof(HsmRequest) + header.itemcount * size
    for i in range(header.itemcount):
        item = HsmUserItem.from_buffer_copy(data, ctypes.sizeof(HsmRequest) + i * size)
        assert (item.fid.f_seq, item.fid.f_ver, item.extent.offset) == (_SEQUENCE, 0, 0)
        assert item.extent.length == 2**64 - 1, "the whole file"
        _mark(item.fid.f_oid).write_text("2")


def install(released: str) -> None:
    """Let this process meet Lustre wherever it asks by an ioctl."""
    os.environ["LUSTRE_RELEASED"] = released
    fcntl.ioctl = receive


def sizes() -> dict[str, int]:
    """Return the sizes of the structures here."""
    own = {
        "hsm_user_state": HsmUserState,
        "hsm_user_request": HsmRequest,
        "hsm_user_item": HsmUserItem,
        "lu_fid": LuFid,
    }
    return {name: ctypes.sizeof(kind) for name, kind in own.items()}
