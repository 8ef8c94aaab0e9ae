"""What the user sees in the UI: datasets and analyses. A new analysis goes into a module of its own here."""

from xdask_pipelines.assets.analysis import Source, analysis

__all__ = ["Source", "analysis"]
