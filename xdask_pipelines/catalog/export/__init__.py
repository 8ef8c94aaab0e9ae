"""Export of the catalog in standard formats."""
