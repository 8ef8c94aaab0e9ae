"""Data that belong to curvilinear and unstructured fields, and lie in entries of their own: the areas of their cells.

Belongs here: finding such entries in the catalog, and joining them to fields. Does not belong here: arithmetic with areas
(``climate``).
"""
