"""Regridding: from one rectangular grid to another, with or without missing values.

Belongs here: weights and their application. Does not belong here: grids (``grids``).
"""
