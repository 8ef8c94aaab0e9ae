"""Pictures of fields as PNG, without global state and without network access.

Belongs here: maps and plots. Does not belong here: choosing fields, storing pictures, arithmetic (climate). Import this
package only where pictures are drawn: matplotlib and cartopy take a second to import.
"""
