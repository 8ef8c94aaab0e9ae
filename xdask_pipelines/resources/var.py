"""The folder ``var/``, where a project keeps on this machine what it makes.

Belongs here: making sure that it can be written before anything runs. Does not belong here: what is in it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import Topology


def writable(topology: Topology, *names: str) -> Path:
    """A folder below ``var/``, made if need be.

    Raises
    ------
    XdaskError
        If it cannot be made or written, with the reason.
    """
    folder = topology.var.joinpath(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):  # true of a read-only disk too, root or not
            reason = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(reason, os.strerror(reason))
    except OSError as error:
        raise XdaskError(
            f"{folder} cannot be written: {error.strerror}. Make {topology.var} writable, or copy the project to a folder "
            "that is."
        ) from error
    return folder
