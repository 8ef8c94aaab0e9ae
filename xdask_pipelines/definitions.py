"""The code location that Dagster loads."""

import logging

from xdask_pipelines.build import assemble
from xdask_pipelines.topology import find_topology

_assembly = assemble(find_topology())
for _broken in _assembly.own.broken:
    logging.getLogger(__name__).warning("left out: %s", _broken)

defs = _assembly.definitions
