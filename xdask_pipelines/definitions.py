"""The code location that Dagster loads."""

from xdask_pipelines.build import build_definitions
from xdask_pipelines.topology import find_topology

defs = build_definitions(find_topology())
