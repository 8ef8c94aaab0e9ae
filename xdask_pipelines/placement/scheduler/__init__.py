"""Placement inside the scheduler: binding tasks to pools, counting their work, moving their results."""
