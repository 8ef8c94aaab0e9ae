"""Predictions for a computation before it runs."""
