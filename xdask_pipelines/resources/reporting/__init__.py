"""Pages of results, and their provenance."""
