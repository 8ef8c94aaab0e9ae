"""The commands by which schedulers and workers start, on any machine."""
