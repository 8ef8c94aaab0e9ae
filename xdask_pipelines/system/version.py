"""The version of this package, from its metadata: the one place that says it is ``pyproject.toml``."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("xdask_pipelines")
