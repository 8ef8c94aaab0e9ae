"""What the command line and the UI share: running, planning, syncing, the demo, the doctor."""
