"""Serialization of Dask's messages.

Belongs here: pickles and message formats. Does not belong here: results (result_copies), compression of fused tasks
(task_codec).
"""

from __future__ import annotations

from typing import Any

import distributed.protocol.core
from distributed.protocol.pickle import dumps, loads

__all__ = ["dumps", "loads"]


def travelled(value: Any) -> Any:
    """Return a value as it arrives after being sent in a message.

    Raises
    ------
    Exception
        If the value cannot be written or read. Such a value would end the connection.
    """
    return distributed.protocol.core.loads(distributed.protocol.core.dumps(value))
