"""What keeps users of one scheduler from hurting each other, and tasks from waiting for ever."""
