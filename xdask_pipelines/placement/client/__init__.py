"""What placement does for a client: connecting, computing, accepting results with their evidence only."""
