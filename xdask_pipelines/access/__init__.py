"""Access: opening catalog entries as lazy xarray objects in their home Regions, and writing results there.

Nothing here opens a data file on the client: only `describe`, `read_block` and the writers open files, in the home
pool.
"""

from xdask_pipelines.access.home_calls import Call, call_at_home
from xdask_pipelines.access.open import open_entries
from xdask_pipelines.access.write import Written, written_lazily

__all__ = ["Call", "Written", "call_at_home", "open_entries", "written_lazily"]
