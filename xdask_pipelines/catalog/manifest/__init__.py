"""Which objects lie in a place: listed, kept, compared."""
