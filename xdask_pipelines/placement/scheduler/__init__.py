"""What placement does inside the scheduler: binding tasks, counting what they do, moving their results."""
