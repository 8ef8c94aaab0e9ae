"""What the user sees in the UI: datasets and analyses. A new analysis goes into a module of its own here."""

from xdask_pipelines.assets.analysis import analysis
from xdask_pipelines.assets.source import Source

__all__ = ["Source", "analysis"]
