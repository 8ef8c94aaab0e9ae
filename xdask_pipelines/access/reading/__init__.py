"""Reading a block of a file or store in its home Region, and summing while reading.

Belongs here: what a task does with stored chunks. Does not belong here: building arrays of such tasks (``access.open``),
headers (``access.header``).
"""
