"""The sync of one dataset in one Region, and what it asks of the workers there."""
