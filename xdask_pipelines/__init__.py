"""Dagster pipelines that compute where the climate data lives."""

from importlib.metadata import version

__version__ = version("xdask_pipelines")
