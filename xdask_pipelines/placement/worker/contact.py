"""The address by which others reach a worker behind NAT, or with a public and a private address.

Belongs here: that address. Does not belong here: who connects to it.
"""

from __future__ import annotations

import os
import socket

from distributed import Worker

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.worker_hooks import contact_by
from xdask_pipelines.system.ports import in_address

#: Name or address of this machine for others; the port is the one on which the worker listens.
CONTACT_VARIABLE = "XDASK_CONTACT_HOST"


def use_contact_host(worker: Worker) -> None:
    """Let a worker join under the address by which others reach its machine, if the environment gives one.

    Dask's own ``--contact-address`` holds a port, and so allows one process only. A name is looked up here, once: the
    scheduler would look it up too, and know the worker by another address than the worker itself.

    Raises
    ------
    PlacementError
        The name has no address.
    """
    host = os.environ.get(CONTACT_VARIABLE)
    if not host:
        return
    try:
        address = str(socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise PlacementError(
            f"The contact address {host} of this worker cannot be looked up: {error}. Give the address itself."
        ) from error
    contact_by(worker, in_address(address))
