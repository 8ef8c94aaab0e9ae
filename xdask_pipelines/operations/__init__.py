"""Operations for the command line and the UI: running, planning, syncing, the demo, the doctor."""
