"""How Dask pickles what it sends.

Belongs here: its two functions. Does not belong here: results (result_copies), how fused tasks are packed (task_codec).
"""

from distributed.protocol.pickle import dumps, loads

__all__ = ["dumps", "loads"]
