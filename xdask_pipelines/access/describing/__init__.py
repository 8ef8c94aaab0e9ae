"""What a file or store says of itself, before anything is made of it.

Belongs here: one reader for each container format, and telling coordinates from data. Does not belong here: the header's
form (header), what must be true of it (validation), reading blocks (blocks).
"""
