"""What a file or store says of itself, and whether that can be true.

Belongs here: one reader for each container format, telling coordinates from data, where and when data lie, validation. Does
not belong here: the header's form (header), reading blocks (read_block).
"""
