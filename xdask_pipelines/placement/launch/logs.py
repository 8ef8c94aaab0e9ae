"""Log lines of placement in the logs of schedulers and workers.

Belongs here: where they go. Does not belong here: what is logged.
"""

from __future__ import annotations

import logging


def log_beside_dask() -> None:
    """Log lines of this package as Dask logs its own: same level, same format, same stream."""
    ours, dask = logging.getLogger("xdask"), logging.getLogger("distributed")
    for handler in dask.handlers:  # added once, however often this is called
        ours.addHandler(handler)
    ours.setLevel(dask.level)
    ours.propagate = dask.propagate
