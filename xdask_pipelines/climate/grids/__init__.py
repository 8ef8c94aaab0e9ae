"""Grids of latitude and longitude: cells, their edges and areas, gaps in axes, when two coordinates are equal.

Belongs here: geometry. Does not belong here: moving values between grids (``regridding``), recognising coordinates
(``axes``).
"""
