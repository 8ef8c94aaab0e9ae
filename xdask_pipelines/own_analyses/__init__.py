"""Analyses that a project's people write: found, and set apart where they cannot be used."""
