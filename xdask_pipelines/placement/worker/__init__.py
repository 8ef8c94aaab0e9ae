"""What placement does inside a worker: guarding files, reporting transfers, saying what it is."""
