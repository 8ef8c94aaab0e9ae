"""Helpers for all other packages: processes, ports, signals, safe text."""
