"""Access: from catalog entries to lazy xarray objects placed at home, and results written at home.

Nothing here opens a data file on the client: files are touched by `describe`, `read_block` and the writers, which run in
the home pool only.
"""

from xdask_pipelines.access.home_calls import Call, call_at_home
from xdask_pipelines.access.open import open_entries
from xdask_pipelines.access.write import Written, written_lazily

__all__ = ["Call", "Written", "call_at_home", "open_entries", "written_lazily"]
