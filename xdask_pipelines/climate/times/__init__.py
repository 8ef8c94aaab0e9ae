"""Axes of time: lengths of steps, gaps and duplicates, selecting periods.

Belongs here: dates, calendars and bounds of steps. Does not belong here: means over time (``means``).
"""
