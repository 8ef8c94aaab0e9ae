"""Syncs by hand, their history, and what lies where between syncs."""
