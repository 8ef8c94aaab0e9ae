"""The catalog in the forms of others."""
