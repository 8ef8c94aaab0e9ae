"""How Dask writes what it sends.

Belongs here: pickles, and what messages are made of. Does not belong here: results (result_copies), how fused tasks are
packed (task_codec).
"""

from __future__ import annotations

from typing import Any

import distributed.protocol.core
from distributed.protocol.pickle import dumps, loads

__all__ = ["dumps", "loads"]


def travelled(value: Any) -> Any:
    """A value as it arrives in a message.

    Raises
    ------
    Exception
        If it cannot be written or read: such a value would end the connection.
    """
    return distributed.protocol.core.loads(distributed.protocol.core.dumps(value))
