"""Pictures of fields, as PNG without state and without network.

Belongs here: maps and plots. Does not belong here: which fields, or where pictures go; arithmetic (climate). Import it where
pictures are drawn only: matplotlib and cartopy take a second that workers need not spend.
"""
