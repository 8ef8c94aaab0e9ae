"""Tests of what `make` targets of the folder benchmarks do, at a small size."""
