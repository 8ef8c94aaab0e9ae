"""Dagster resources and the IO manager: thin, and configured by the topology."""
