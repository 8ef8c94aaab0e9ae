"""The folder ``var/`` with all files that a project creates on this machine.

Belongs here: checking that it is writable before anything runs. Does not belong here: its content.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import Topology


def writable(topology: Topology, *names: str) -> Path:
    """Return a folder below ``var/``, and create it if necessary.

    Raises
    ------
    XdaskError
        If it cannot be created or written.
    """
    folder = topology.var.joinpath(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):  # also detects a read-only disk, even as root
            reason = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(reason, os.strerror(reason))
    except OSError as error:
        raise XdaskError(
            f"{folder} cannot be written: {error.strerror}. Make {topology.var} writable, or copy the project to a folder "
            "that is."
        ) from error
    return folder
