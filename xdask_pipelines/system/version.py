"""The version of this package, from its metadata, which come from ``pyproject.toml``."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("xdask_pipelines")
