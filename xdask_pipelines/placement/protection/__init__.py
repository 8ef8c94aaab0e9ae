"""Protection of the users of one scheduler from each other, and of tasks from waiting forever."""
