"""Dagster resources and the IO manager, configured by the topology."""
