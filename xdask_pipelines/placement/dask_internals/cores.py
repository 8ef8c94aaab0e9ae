"""What Dask finds out about the machine of a process.

Belongs here: cores that a process may use. Does not belong here: how they are shared out (machine_defaults).
"""

from __future__ import annotations

from dask.system import CPU_COUNT


def usable_cores() -> int:
    """Return the cores that this process may use: its affinity and the limits of its control group count."""
    return int(CPU_COUNT)
