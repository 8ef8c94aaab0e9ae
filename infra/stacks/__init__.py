"""Stacks: which constructs are deployed together, and in which Region."""
