"""The worker side of placement: guarding files, reporting transfers, and describing the worker to the scheduler."""
