"""The user's own analyses: finding and importing them, and setting aside those that cannot be used."""
