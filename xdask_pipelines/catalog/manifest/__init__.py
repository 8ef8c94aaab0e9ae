"""Manifests: listing, storing and comparing the objects of a (dataset, Region)."""
