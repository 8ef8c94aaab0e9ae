"""The catalog in one file."""
