"""Describing files and stores: reading and validating their headers.

Belongs here: one reader for each container format, distinguishing coordinates from data, coverage in space and time,
validation. Does not belong here: the header's form (header), reading blocks (reading).
"""
