"""Placement over a wide-area network made on one machine, beside what a user would pick instead."""
