"""What is recorded of results: reports, provenance, reproduction."""
